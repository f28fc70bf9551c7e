/** Size of a chunk. A longer text gets its own chunk. */
const CHUNK_BYTES = 64 * 1024
/** Up to this length a loop is faster than Buffer.write. */
const SHORT_CHARACTERS = 64
/** A UTF-16 code unit takes at most three bytes of UTF-8. */
const UNIT_BYTES_MAX = 3

const UNSAFE = /["\\\p{Cc}\p{Cs}]/u

/** Writes JSON as UTF-8 into chunks. As a string, a large response would be a million concatenations and then be encoded once more. */
export class JsonBytes {
  #bytes = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  #at = 0
  #full: Buffer[] = []

  /** Returns what was written since the last call. The caller owns the chunks. */
  take(): Buffer[] {
    const chunks = this.#full
    const last = this.#bytes.subarray(0, this.#at)
    if (chunks.length === 0) {
      this.#at = 0
      return [Buffer.from(last)]
    }
    chunks.push(last)
    this.#full = []
    this.#bytes = Buffer.allocUnsafeSlow(CHUNK_BYTES)
    this.#at = 0
    return chunks
  }

  /** Discards what was written. */
  reset(): void {
    this.#full = []
    this.#at = 0
  }

  /** Appends text that is ASCII and short. */
  raw(text: string): void {
    const { length } = text
    this.#need(length)
    const bytes = this.#bytes
    let at = this.#at
    for (let i = 0; i < length; i++) bytes[at++] = text.charCodeAt(i)
    this.#at = at
  }

  /** Appends a string in quotes. */
  text(value: string): void {
    if (value.length > SHORT_CHARACTERS || !this.#plain(value)) this.#long(value)
  }

  /** False when the string needs more than quotes. */
  #plain(value: string): boolean {
    const { length } = value
    this.#need(length + 2)
    const bytes = this.#bytes
    let at = this.#at
    bytes[at++] = 0x22
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit < 0x20 || unit > 0x7e || unit === 0x22 || unit === 0x5c) return false
      bytes[at++] = unit
    }
    bytes[at++] = 0x22
    this.#at = at
    return true
  }

  #long(value: string): void {
    const quoted = UNSAFE.test(value) ? JSON.stringify(value) : `"${value}"`
    this.#need(quoted.length * UNIT_BYTES_MAX)
    this.#at += this.#bytes.write(quoted, this.#at)
  }

  #need(length: number): void {
    if (this.#at + length <= this.#bytes.length) return
    this.#full.push(this.#bytes.subarray(0, this.#at))
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, length))
    this.#at = 0
  }
}
