/** A JSON value with Python's distinction of integers (bigint) and floats (number, also NaN and the infinities). */
export type PyJson = null | boolean | bigint | number | string | PyJson[] | { [key: string]: PyJson }

/** How deep a value may nest: Python reads about as much in a request before its stack ends. */
export const DEPTH_MAX = 960
/** Python's limit for reading a decimal integer (sys.int_info.default_max_str_digits). */
export const INTEGER_DIGITS_MAX = 4300
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?/y
const SPACE = /[ \t\n\r]*/y
const TOKENS: readonly [string, PyJson][] = [
  ['true', true],
  ['false', false],
  ['null', null],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]

/**
 * Reads JSON as Python's `json.loads` does: exact integers, the tokens NaN, Infinity and -Infinity, the last of repeated keys.
 * @throws SyntaxError, or RangeError for more depth than Python reads
 */
export function parsePython(text: string): PyJson {
  let at = 0
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
    skip()
    const c = text[at]
    if (c === '"') return string()
    if (c === '{') return object(depth)
    if (c === '[') return array(depth)
    for (const [token, meaning] of TOKENS) {
      if (text.startsWith(token, at)) {
        at += token.length
        return meaning
      }
    }
    const number = match(NUMBER)
    if (!number || number[0].length > INTEGER_DIGITS_MAX) throw fail()
    return number[1] === undefined && number[2] === undefined ? BigInt(number[0]) : Number(number[0])
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
  for (let at = start + 1; ; ) {
    const quote = text.indexOf('"', at)
    if (quote < 0) throw new SyntaxError(`not JSON at ${start}`)
    let slashes = 0
    while (text.charCodeAt(quote - 1 - slashes) === 92) slashes++
    if (slashes % 2 === 0) return quote + 1
    at = quote + 1
  }
}

/** The value as Python's `json.dumps(value, sort_keys=True, separators=(",", ":"))` writes it. */
export function dumpsPython(value: PyJson): string {
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'number') return pythonFloat(value)
  if (typeof value === 'string') {
    return JSON.stringify(value).replace(/[\u007f-\uffff]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
  }
  if (Array.isArray(value)) return `[${value.map(dumpsPython).join(',')}]`
  const keys = Object.keys(value).sort()
  return `{${keys.map(key => `${dumpsPython(key)}:${dumpsPython(value[key] ?? null)}`).join(',')}}`
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
