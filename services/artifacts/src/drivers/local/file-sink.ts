import type { promises as fs } from 'node:fs'
import { Writable } from 'node:stream'

/** Chunks of a socket are 64 KiB; those that come while the disk is busy are written at once. */
const WRITE_BUFFER_BYTES = 1024 * 1024

/** How much is written between flushes. Flushing beside the writing leaves little to wait for at the end of a big file. */
const FLUSH_BYTES = 64 * 1024 * 1024

/** Writes an open file and makes it durable before it finishes. The file stays open: closing it, which waits for what is still under way, is the owner's. */
export class FileSink extends Writable {
  readonly #file: fs.FileHandle
  #unflushedBytes = 0
  #flushing: Promise<void> | undefined

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

  override _final(done: (error?: Error | null) => void): void {
    this.#finish().then(() => done(), done)
  }

  async #append(buffers: Buffer[]): Promise<void> {
    let { bytesWritten } = await this.#file.writev(buffers)
    this.#unflushedBytes += bytesWritten
    // A disk that is nearly full, or a signal, may take only a part.
    for (const buffer of buffers) {
      if (bytesWritten >= buffer.length) bytesWritten -= buffer.length
      else {
        await this.#file.writeFile(buffer.subarray(bytesWritten))
        bytesWritten = 0
      }
    }
    if (this.#unflushedBytes >= FLUSH_BYTES && !this.#flushing) this.#flush()
  }

  #flush(): void {
    this.#unflushedBytes = 0
    this.#flushing = this.#file.datasync()
    this.#flushing.then(
      () => {
        this.#flushing = undefined
      },
      // The system reports a lost write to one flush only.
      (error: Error) => this.destroy(error),
    )
  }

  async #finish(): Promise<void> {
    await this.#flushing
    await this.#file.datasync()
  }
}
