import { INTEGER_DIGITS_MAX } from '@millrace/kit/python-json'
import { SHOWN_CHARACTERS_MAX, shorten } from '@millrace/kit/shown'

/**
 * The corners of Python that clients of MLflow can see: how error texts quote values, which texts are integers, and the tuples of IN lists.
 */

/** Deeper lists are not quoted further; what errors quote of them is a few levels. */
const SHOWN_LEVELS_MAX = 20

/** A JSON-like value as Python's repr() writes it; like everything that errors quote, cut where it is long. */
export function repr(value: unknown): string {
  return shorten(written(value, 0))
}

function written(value: unknown, level: number): string {
  if (value === null || value === undefined) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'number') return floatRepr(value, true)
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'string') return stringRepr(value)
  if (level > SHOWN_LEVELS_MAX) return '…'
  if (Array.isArray(value)) return `[${listed(value, one => written(one, level + 1))}]`
  return `{${listed(Object.entries(value), ([k, v]) => `${stringRepr(k)}: ${written(v, level + 1)}`)}}`
}

/** The first of `values` that are enough to quote. */
function listed<T>(values: readonly T[], write: (value: T) => string): string {
  let text = ''
  for (const [i, value] of values.entries()) {
    if (i > 0) text += ', '
    text += write(value)
    if (text.length > SHOWN_CHARACTERS_MAX) break
  }
  return text
}

export function tupleRepr(values: readonly unknown[]): string {
  return shorten(`(${listed(values, one => written(one, 0))}${values.length === 1 ? ',' : ''})`)
}

/** A set in a fixed order; Python's own order changes from process to process. */
export const setRepr = (values: readonly string[]) => `{${values.map(stringRepr).join(', ')}}`

function stringRepr(whole: string): string {
  const text = shorten(whole)
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  let out = quote
  for (const character of text) out += character === quote ? `\\${character}` : escaped(character)
  return out + quote
}

const ESCAPES: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function escaped(character: string): string {
  const known = ESCAPES[character]
  if (known) return known
  if (character === ' ' || !/[\p{C}\p{Z}]/u.test(character)) return character
  const code = character.codePointAt(0) as number
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\U${code.toString(16).padStart(8, '0')}`
}

export function bytesRepr(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, SHOWN_CHARACTERS_MAX + 1)).toString('latin1')
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  let out = `b${quote}`
  for (const character of text) {
    const code = character.charCodeAt(0)
    if (character === quote) out += `\\${character}`
    else if (ESCAPES[character]) out += ESCAPES[character]
    else out += code < 0x20 || code > 0x7e ? `\\x${code.toString(16).padStart(2, '0')}` : character
  }
  return shorten(out + quote)
}

/** A double as Python writes it; JSON's integers arrive as numbers too, so `integers` leaves whole ones without a fraction. */
export function floatRepr(value: number, integers = false): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  if (Number.isInteger(value) && Math.abs(value) < 1e16) return integers ? String(value) : `${Object.is(value, -0) ? '-0' : value}.0`
  const magnitude = Math.abs(value)
  if (magnitude >= 1e16 || magnitude < 1e-4) {
    return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2')
  }
  return String(value)
}

/** With an underscore after each digit, and a sign. */
const INTEGER_CHARACTERS_MAX = 2 * INTEGER_DIGITS_MAX

/** The integer that Python's int() reads from a text: blanks around it, a sign and single underscores are fine. */
export function parseInteger(text: string): bigint | undefined {
  const trimmed = text.trim()
  if (trimmed.length > INTEGER_CHARACTERS_MAX || !/^[+-]?\d+(_\d+)*$/.test(trimmed)) return undefined
  const digits = trimmed.replaceAll('_', '').replace(/^\+/, '')
  return digits.length > INTEGER_DIGITS_MAX + (digits.startsWith('-') ? 1 : 0) ? undefined : BigInt(digits)
}

/** Words of a text as a shell would see them: blanks part them, quotes and backslashes protect. Undefined when a quote stays open. */
export function shellWords(text: string): string[] | undefined {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string
    if (quote) {
      if (c === quote) quote = ''
      else if (c === '\\' && quote === '"' && /["\\]/.test(text[i + 1] ?? '')) word += text[++i] as string
      else word += c
    } else if (/[ \t\r\n]/.test(c)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else {
      word ??= ''
      if (c === "'" || c === '"') quote = c
      else if (c === '\\') {
        if (i + 1 === text.length) return undefined
        word += text[++i] as string
      } else word += c
    }
  }
  if (quote) return undefined
  if (word !== undefined) words.push(word)
  return words
}

const LITERAL =
  /\s*(?:([uU]?)('(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*")|([+-]?\d[\d_]*(?![\d.eE]))|([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(True|False|None)\b)/y

/**
 * The values of a list in parentheses, written as a Python tuple of literals; one value alone may do without a comma.
 * Undefined when it is not one.
 */
export function parseTuple(text: string): unknown[] | undefined {
  const inner = text.trim().slice(1, -1)
  if (/^\s*\(/.test(inner) && inner.trim().endsWith(')')) return parseTuple(inner)
  const values: unknown[] = []
  let at = 0
  while (/\S/.test(inner.slice(at))) {
    const value = literal(inner, at)
    if (!value) return undefined
    values.push(value.value)
    at = value.end
    const comma = /^\s*,/.exec(inner.slice(at))
    if (!comma) return /\S/.test(inner.slice(at)) ? undefined : values
    at += comma[0].length
  }
  return values
}

function literal(text: string, at: number): { value: unknown; end: number } | undefined {
  LITERAL.lastIndex = at
  const found = LITERAL.exec(text)
  if (!found) return undefined
  let end = LITERAL.lastIndex
  const [, , quoted, integer, float, constant] = found
  if (integer) return integer.length > INTEGER_DIGITS_MAX ? undefined : { value: BigInt(integer.replaceAll('_', '')), end }
  if (float) return { value: Number(float), end }
  if (constant) return { value: constant === 'None' ? null : constant === 'True', end }
  let value = withoutEscapes((quoted as string).slice(1, -1))
  for (;;) {
    LITERAL.lastIndex = end
    const next = LITERAL.exec(text)?.[2]
    if (!next) return { value, end }
    value += withoutEscapes(next.slice(1, -1))
    end = LITERAL.lastIndex
  }
}

const UNESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b', f: '\f', v: '\v', '\n': '' }

function withoutEscapes(text: string): string {
  return text.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([\s\S]))/g,
    (all, x, u, long, octal, other) => {
      const hex: string | undefined = x ?? u ?? long
      if (hex) return String.fromCodePoint(Math.min(Number.parseInt(hex, 16), 0x10ffff))
      if (octal) return String.fromCharCode(Number.parseInt(octal, 8))
      return UNESCAPES[other] ?? (/['"\\]/.test(other) ? other : all)
    },
  )
}
