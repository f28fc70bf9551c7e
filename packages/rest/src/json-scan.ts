/** Values of one body: a full log-batch has 9,700, and twenty times as many take 20 ms to read. */
export const JSON_VALUES_MAX = 100_000
/** Members of the objects of one body. Distinct names are dear: 1 ms for a thousand. */
export const JSON_MEMBERS_MAX = 25_000
/** A shorter body can't hold more. */
export const SCANNED_BYTES_MIN = 100_000
/** Of those that a float can't hold exactly. */
const LONG_INTEGER_DIGITS = 16

const QUOTE = 0x22
const BACKSLASH = 0x5c
const [OTHER, DIGIT, POINT, MARK, COLON, OPEN_QUOTE] = [0, 1, 2, 3, 4, 5]
/** What a byte outside strings means. */
const KINDS = new Uint8Array(256).fill(OTHER)
for (const digit of '0123456789') KINDS[digit.charCodeAt(0)] = DIGIT
for (const mark of '{[,') KINDS[mark.charCodeAt(0)] = MARK
KINDS['.'.charCodeAt(0)] = POINT
KINDS[':'.charCodeAt(0)] = COLON
KINDS[QUOTE] = OPEN_QUOTE

/**
 * Counts what a JSON text in UTF-8 holds, chunk by chunk, before anything is made of it: 60 MB of `{}` would be 5 GB of objects. One
 * look at each byte; in text that isn't JSON the counts mean nothing.
 */
export class JsonScan {
  /** Some number may be an integer that a float can't hold exactly. */
  longInteger = false
  #values = 0
  #members = 0
  #digits = 0
  #inString = false
  #escaped = false

  /** False once there is more than may be parsed. */
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
