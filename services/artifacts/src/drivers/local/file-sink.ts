import type { promises as fs } from 'node:fs'
import { Writable } from 'node:stream'

/** Chunks of a socket are 64 KiB; one writev a MiB costs a tenth of a write for each. */
const WRITE_BUFFER_BYTES = 1024 * 1024

/** Appends to an open file, which stays open: closing it is the owner's, who waits for writes that are still under way. */
export class FileSink extends Writable {
  readonly #file: fs.FileHandle

  constructor(file: fs.FileHandle) {
    super({ highWaterMark: WRITE_BUFFER_BYTES, decodeStrings: true })
    this.#file = file
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#append([chunk]).then(() => done(), done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#append(chunks.map(({ chunk }) => chunk)).then(() => done(), done)
  }

  async #append(buffers: Buffer[]): Promise<void> {
    let { bytesWritten } = await this.#file.writev(buffers)
    // A disk that is nearly full, or a signal, may take only a part.
    for (const buffer of buffers) {
      if (bytesWritten >= buffer.length) bytesWritten -= buffer.length
      else {
        await this.#file.writeFile(buffer.subarray(bytesWritten))
        bytesWritten = 0
      }
    }
  }
}
