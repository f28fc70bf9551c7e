import { invalidParameter } from '@millrace/kit/errors'
import { INTEGER_DIGITS_MAX } from '@millrace/kit/python-json'

/** The result for a JSON value that doesn't fit its field. */
export const MISFIT = Symbol('misfit')

/** For values on which MLflow fails with an internal error. */
export const unreadable = (what: string) => invalidParameter(`The request body cannot be read: ${what}.`)

const INT64_MIN = -(2n ** 63n)
const INT64_MAX = 2n ** 63n - 1n
const UINT64_MAX = 2n ** 64n - 1n
const INTEGER = /^[+-]?\d+$/
/** The decimal point is grouped with the digits after it: two adjacent runs of digits would backtrack quadratically. */
const FLOAT = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/
/** Python allows one underscore between digits. */
const UNDERSCORE = /(?<=\d)_(?=\d)/g
const WORDS: Readonly<Record<string, number>> = {
  inf: Number.POSITIVE_INFINITY,
  '+inf': Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
  infinity: Number.POSITIVE_INFINITY,
  '+infinity': Number.POSITIVE_INFINITY,
  '-infinity': Number.NEGATIVE_INFINITY,
  nan: Number.NaN,
  '+nan': Number.NaN,
  '-nan': Number.NaN,
}

/** `float(text)` of Python; undefined where that raises ValueError. */
export function pythonFloatOf(text: string): number | undefined {
  const trimmed = text.trim().replace(UNDERSCORE, '')
  return FLOAT.test(trimmed) ? Number(trimmed) : WORDS[trimmed.toLowerCase()]
}

/** `int(text)` of Python; undefined where that raises ValueError. */
export function pythonIntOf(text: string): bigint | undefined {
  const trimmed = text.trim().replace(UNDERSCORE, '')
  return trimmed.length <= INTEGER_DIGITS_MAX && INTEGER.test(trimmed) ? BigInt(trimmed.replace(/^\+/, '')) : undefined
}

/** Integers as protobuf's Python json_format takes them: whole numbers, decimal strings, strings of whole floats; not booleans. */
function integer(value: unknown): bigint | typeof MISFIT {
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : MISFIT
  if (typeof value === 'bigint') return value
  if (typeof value !== 'string' || value.includes(' ')) return MISFIT
  const exact = pythonIntOf(value)
  if (exact !== undefined) return exact
  const float = pythonFloatOf(value)
  return float !== undefined && Number.isInteger(float) ? BigInt(float) : MISFIT
}

export function int64(value: unknown): bigint | typeof MISFIT {
  if (Number.isSafeInteger(value)) return BigInt(value as number)
  const found = integer(value)
  return found !== MISFIT && found >= INT64_MIN && found <= INT64_MAX ? found : MISFIT
}

export function uint64(value: unknown): bigint | typeof MISFIT {
  const found = integer(value)
  return found !== MISFIT && found >= 0n && found <= UINT64_MAX ? found : MISFIT
}

export function int32(value: unknown): number | typeof MISFIT {
  if (typeof value === 'number' && (value | 0) === value) return value
  const found = integer(value)
  return found !== MISFIT && found >= -0x80000000n && found <= 0x7fffffffn ? Number(found) : MISFIT
}

export function uint32(value: unknown): number | typeof MISFIT {
  const found = integer(value)
  return found !== MISFIT && found >= 0n && found <= 0xffffffffn ? Number(found) : MISFIT
}

/** Floats: numbers, booleans, numeric strings and the words of Python's float(); bare NaN and Infinity and "nan" are refused. */
export function double(value: unknown): number | typeof MISFIT {
  if (typeof value === 'number') return Number.isFinite(value) ? value : MISFIT
  if (typeof value === 'bigint') {
    const float = Number(value)
    if (!Number.isFinite(float)) throw unreadable('an integer is too large for a double')
    return float
  }
  if (typeof value === 'boolean') return value ? 1 : 0
  if (typeof value !== 'string' || value === 'nan') return MISFIT
  return pythonFloatOf(value) ?? MISFIT
}

export function bool(value: unknown): boolean | typeof MISFIT {
  return typeof value === 'boolean' ? value : MISFIT
}

export function string(value: unknown): string | typeof MISFIT {
  return typeof value === 'string' && value.isWellFormed() ? value : MISFIT
}

export function bytes(value: unknown): Uint8Array | typeof MISFIT {
  return typeof value === 'string' ? new Uint8Array(Buffer.from(value, 'base64')) : MISFIT
}

/** A number of `numbers` by its name or number; undefined for an unknown name, which MLflow ignores. */
export function enumValue(
  numbers: ReadonlyMap<string, number>,
  known: ReadonlySet<number>,
  value: unknown,
): number | undefined | typeof MISFIT {
  let number: number
  if (typeof value === 'string') {
    const named = numbers.get(value)
    if (named !== undefined) return named
    if (!value.isWellFormed()) throw unreadable('a text is not Unicode')
    const parsed = pythonIntOf(value)
    if (parsed === undefined) return undefined
    number = Number(parsed)
  } else if (typeof value === 'number' || typeof value === 'bigint') {
    if (Number.isNaN(value)) return undefined
    number = Math.trunc(Number(value))
    if (!Number.isFinite(number)) throw unreadable('an infinity has no name')
  } else if (typeof value === 'boolean') {
    number = value ? 1 : 0
  } else {
    return MISFIT
  }
  return known.has(number) ? number : MISFIT
}
