import { SHOWN_CHARACTERS_MAX, shorten } from './shown.ts'

/** A JSON value with Python's distinction of integers (bigint) and floats (number, also NaN and the infinities). */
export type PyJson = null | boolean | bigint | number | string | PyJson[] | { [key: string]: PyJson }

/** How deep a value may nest: Python reads about as much in a request before its stack ends. */
export const DEPTH_MAX = 960
/** Python's limit for reading a decimal integer (sys.int_info.default_max_str_digits). */
export const INTEGER_DIGITS_MAX = 4300
/** Values in one text. */
const VALUES_MAX = 200_000
/** A longer integer is beyond every float and takes a time that grows with the square of its length. */
const LONG_INTEGER_DIGITS = 400
/** Of the digits of all long integers of a text. */
const LONG_DIGITS_MAX = 100_000
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?/y
const SPACE = /[ \t\n\r]*/y
/** Words by their first character. */
const WORDS = new Map<string | undefined, readonly [string, PyJson]>([
  ['t', ['true', true]],
  ['f', ['false', false]],
  ['n', ['null', null]],
  ['N', ['NaN', Number.NaN]],
  ['I', ['Infinity', Number.POSITIVE_INFINITY]],
  ['-', ['-Infinity', Number.NEGATIVE_INFINITY]],
])

/** JSON that would take too long to read; the message says what of it. */
export class TooMuchJson extends RangeError {}

/**
 * Reads JSON as Python's `json.loads` does: exact integers, the tokens NaN, Infinity and -Infinity, the last of repeated keys.
 * @throws SyntaxError, RangeError for more depth than Python reads, or TooMuchJson
 */
export function parsePython(text: string): PyJson {
  let at = 0
  let values = 0
  let longDigits = 0
  const fail = () => new SyntaxError(`not JSON at ${at}`)
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at
    const found = pattern.exec(text)
    if (found) at = pattern.lastIndex
    return found
  }
  const skip = () => {
    const code = text.charCodeAt(at)
    if (code === 32 || code === 10 || code === 13 || code === 9) match(SPACE)
  }
  const take = (character: string) => {
    if (text[at] !== character) return false
    at++
    return true
  }
  const string = (): string => {
    const start = at
    at = endOfString(text, at)
    return JSON.parse(text.slice(start, at))
  }
  const value = (depth: number): PyJson => {
    if (depth > DEPTH_MAX) throw new RangeError(`nested too deeply at ${at}`)
    if (++values > VALUES_MAX) throw new TooMuchJson('too many values')
    skip()
    const c = text[at]
    if (c === '"') return string()
    if (c === '{') return object(depth)
    if (c === '[') return array(depth)
    const word = WORDS.get(c)
    if (word && text.startsWith(word[0], at)) {
      at += word[0].length
      return word[1]
    }
    const number = match(NUMBER)
    if (!number || number[0].length > INTEGER_DIGITS_MAX) throw fail()
    return number[1] === undefined && number[2] === undefined ? integer(number[0]) : Number(number[0])
  }
  const integer = (digits: string) => {
    if (digits.length > LONG_INTEGER_DIGITS) longDigits += digits.length
    if (longDigits > LONG_DIGITS_MAX) throw new TooMuchJson('too many digits')
    return BigInt(digits)
  }
  const array = (depth: number): PyJson[] => {
    const items: PyJson[] = []
    at++
    skip()
    if (take(']')) return items
    for (;;) {
      items.push(value(depth + 1))
      skip()
      if (take(']')) return items
      if (text[at] !== ',') throw fail()
      at++
    }
  }
  const object = (depth: number) => {
    const found: { [key: string]: PyJson } = {}
    at++
    skip()
    if (take('}')) return found
    for (;;) {
      skip()
      const key = string()
      skip()
      if (text[at] !== ':') throw fail()
      at++
      const one = value(depth + 1)
      if (key === '__proto__') Object.defineProperty(found, key, { value: one, enumerable: true, configurable: true, writable: true })
      else found[key] = one
      skip()
      if (take('}')) return found
      if (text[at] !== ',') throw fail()
      at++
    }
  }
  const whole = value(0)
  skip()
  if (at !== text.length) throw fail()
  return whole
}

/** Position after the closing quote of the string that starts here. */
function endOfString(text: string, start: number): number {
  if (text[start] !== '"') throw new SyntaxError(`not JSON at ${start}`)
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 34) return at + 1
    if (code === 92) at++
  }
  throw new SyntaxError(`not JSON at ${start}`)
}

/** The value as Python's `json.dumps(value, sort_keys=True, separators=(",", ":"))` writes it, as much of it as a message shows. */
export const shownPython = (value: PyJson): string => shorten(dump(value, SHOWN_CHARACTERS_MAX))

/** At least `length` characters of the whole, where it has as many. */
function dump(value: PyJson, length: number): string {
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'number') return pythonFloat(value)
  if (typeof value === 'string') {
    return JSON.stringify(value.slice(0, length)).replace(/[\u007f-\uffff]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
  }
  const isList = Array.isArray(value)
  let text = isList ? '[' : '{'
  for (const key of isList ? value.keys() : Object.keys(value).sort()) {
    if (text.length > length) return text
    if (text.length > 1) text += ','
    text += typeof key === 'number' ? '' : `${dump(key, length)}:`
    text += dump((value as { [key: string]: PyJson })[key] ?? null, Math.max(0, length - text.length))
  }
  return text + (isList ? ']' : '}')
}

/** `repr` of a Python float: exponents from 1e16 and below 1e-4, always with a point or an exponent. */
export function pythonFloat(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity'
  if (Object.is(value, -0)) return '-0.0'
  const [digits = '', power = '0'] = value.toExponential().split('e')
  const exponent = Number(power)
  if (value !== 0 && (exponent >= 16 || exponent < -4)) {
    return `${digits}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
  }
  const plain = String(value)
  const shown = plain.includes('e') ? value.toFixed(digits.replace(/^-?\d\.?/, '').length - exponent) : plain
  return shown.includes('.') ? shown : `${shown}.0`
}

/** The name of the value's Python type. */
export function pythonType(value: PyJson): string {
  if (value === null) return 'NoneType'
  if (Array.isArray(value)) return 'list'
  switch (typeof value) {
    case 'boolean':
      return 'bool'
    case 'bigint':
      return 'int'
    case 'number':
      return 'float'
    case 'string':
      return 'str'
    default:
      return 'dict'
  }
}
