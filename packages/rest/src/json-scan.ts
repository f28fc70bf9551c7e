/** Values in one body. The largest request of MLflow has 9,700; 200,000 take 20 ms to parse. */
export const JSON_VALUES_MAX = 100_000
/** Object members in one body. Distinct names are expensive: 1 ms per thousand. */
export const JSON_MEMBERS_MAX = 25_000
/** A shorter body can't exceed the limits and isn't scanned. */
export const SCANNED_BYTES_MIN = 100_000
/** A double may not represent an integer of this length exactly. */
const LONG_INTEGER_DIGITS = 16

const QUOTE = 0x22
const BACKSLASH = 0x5c
const [OTHER, DIGIT, POINT, MARK, COLON, OPEN_QUOTE] = [0, 1, 2, 3, 4, 5]
/** Meaning of each byte outside strings. */
const KINDS = new Uint8Array(256).fill(OTHER)
for (const digit of '0123456789') KINDS[digit.charCodeAt(0)] = DIGIT
for (const mark of '{[,') KINDS[mark.charCodeAt(0)] = MARK
KINDS['.'.charCodeAt(0)] = POINT
KINDS[':'.charCodeAt(0)] = COLON
KINDS[QUOTE] = OPEN_QUOTE

/**
 * Counts the values of JSON in UTF-8, chunk by chunk, before it is parsed: 60 MB of `{}` would become 5 GB of objects. Each byte is read
 * once. For text that isn't JSON the counts have no meaning.
 */
export class JsonScan {
  /** A number may be an integer that a double can't represent exactly. */
  longInteger = false
  #values = 0
  #members = 0
  #digits = 0
  #inString = false
  #escaped = false

  /** False when a limit is exceeded. */
  add(bytes: Uint8Array): boolean {
    const end = bytes.length
    let at = 0
    if (this.#escaped && end > 0) {
      this.#escaped = false
      at++
    }
    while (at < end) {
      at = this.#inString ? this.#string(bytes, at, end) : this.#outside(bytes, at, end)
    }
    return this.#values <= JSON_VALUES_MAX && this.#members <= JSON_MEMBERS_MAX
  }

  #string(bytes: Uint8Array, from: number, end: number): number {
    let at = from
    while (at < end) {
      const byte = bytes[at++]
      if (byte === QUOTE) {
        this.#inString = false
        return at
      }
      if (byte === BACKSLASH) at++
    }
    this.#escaped = at > end
    return end
  }

  #outside(bytes: Uint8Array, from: number, end: number): number {
    let digits = this.#digits
    let values = this.#values
    let at = from
    while (at < end) {
      const kind = KINDS[bytes[at++] as number]
      if (kind === DIGIT) {
        if (++digits === LONG_INTEGER_DIGITS) this.longInteger = true
        continue
      }
      digits = kind === POINT ? Number.NEGATIVE_INFINITY : 0
      if (kind === MARK) values++
      else if (kind === COLON) this.#members++
      else if (kind === OPEN_QUOTE) {
        this.#inString = true
        break
      }
    }
    this.#digits = digits
    this.#values = values
    return at
  }
}
