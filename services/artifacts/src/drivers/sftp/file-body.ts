import { Readable } from 'node:stream'
import { sftpError } from './errors.ts'
import { type Lease, letGo } from './pool.ts'
import { REQUEST_BYTES, REQUESTS_AT_ONCE_MAX } from './write.ts'

const REQUESTS_AT_START = 8
const READ_BUFFER_BYTES = 256 * 1024

export interface OpenedFile {
  handle: Buffer
  lease: Lease
  key: string
}

/** A part of an open file, asked for ahead of its reader. Ends with the file closed and the connection given back. */
export class FileBody extends Readable {
  readonly #file: OpenedFile
  readonly #end: number
  /** Answers in order; those that aren't there yet are undefined. */
  readonly #answers: { bytes?: Buffer }[] = []
  #next: number
  #atOnce = REQUESTS_AT_START
  #wanted = false

  constructor(file: OpenedFile, start: number, length: number) {
    super({ highWaterMark: READ_BUFFER_BYTES })
    this.#file = file
    this.#next = start
    this.#end = start + length
  }

  override _read(): void {
    this.#wanted = true
    this.#deliver()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    void letGo(this.#file.lease, this.#file.handle)
    done(error)
  }

  #deliver(): void {
    while (this.#wanted && this.#answers[0]?.bytes) {
      const { bytes } = this.#answers.shift() ?? {}
      this.#wanted = this.push(bytes)
    }
    while (this.#answers.length < this.#atOnce && this.#next < this.#end) this.#ask()
    if (this.#answers.length === 0) this.push(null)
  }

  #ask(): void {
    const answer: { bytes?: Buffer } = {}
    const length = Math.min(REQUEST_BYTES, this.#end - this.#next)
    this.#answers.push(answer)
    this.#readWhole(this.#next, length).then(
      bytes => {
        answer.bytes = bytes
        this.#atOnce = Math.min(REQUESTS_AT_ONCE_MAX, this.#atOnce + 1)
        if (!this.destroyed) this.#deliver()
      },
      (error: unknown) => this.destroy(sftpError(error, this.#file.key)),
    )
    this.#next += length
  }

  /** A server may answer with less than it was asked for. */
  async #readWhole(position: number, length: number): Promise<Buffer> {
    const { handle, lease } = this.#file
    const parts: Buffer[] = []
    for (let done = 0; done < length; ) {
      const part = await lease.session.read(handle, position + done, length - done)
      if (part.length === 0) throw new Error('the file became shorter while it was read')
      parts.push(part)
      done += part.length
    }
    return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)
  }
}
