import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { hdfsError, isUnreachable, SilentStore } from './errors.ts'

const RESUMPTIONS_MAX = 3
const BUFFER_BYTES = 256 * 1024

export interface FileBodyOptions {
  /** The bytes from one to the end of the part, of the same version. */
  open(start: number): Promise<IncomingMessage>
  key: string
  /** First byte, and the one after the last. */
  start: number
  end: number
  timeoutMs: number
  signal?: AbortSignal
}

/**
 * Bytes of one file that go on where they were, from another data node, when the connection is lost. Only a store that is asked for
 * bytes has a time limit: a slow reader hasn't.
 */
export class FileBody extends Readable {
  readonly #options: FileBodyOptions
  #source: IncomingMessage
  #position: number
  #resumptions = 0
  #watch: NodeJS.Timeout | undefined

  constructor(first: IncomingMessage, options: FileBodyOptions) {
    super({ highWaterMark: BUFFER_BYTES })
    this.#options = options
    this.#position = options.start
    this.#source = first
    this.#follow(first)
  }

  override _read(): void {
    this.#watch ??= setTimeout(() => this.#source.destroy(new SilentStore('no bytes')), this.#options.timeoutMs)
    this.#source.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stopWatching()
    this.#source.destroy()
    callback(error)
  }

  #follow(source: IncomingMessage): void {
    this.#source = source
    let open = true
    const finish = (failure: unknown) => {
      if (!open) return
      open = false
      this.#stopWatching()
      if (!this.destroyed) void this.#goOn(failure)
    }
    source.on('data', (chunk: Buffer) => {
      this.#position += chunk.length
      this.#resumptions = 0
      if (this.#position > this.#options.end) {
        this.destroy(hdfsError(new Error('more bytes than asked for'), this.#options.key))
      } else if (!this.push(chunk)) {
        this.#stopWatching()
        source.pause()
      } else this.#watch?.refresh()
    })
    const broken = () => finish(Object.assign(new Error('the file ended too early'), { code: 'ECONNRESET' }))
    source.once('end', broken)
    source.once('error', finish)
    source.once('close', broken)
    source.pause()
  }

  async #goOn(failure: unknown): Promise<void> {
    const { open, end, key, signal } = this.#options
    if (this.#position >= end) {
      this.push(null)
      return
    }
    try {
      if (signal?.aborted) throw signal.reason
      if (!isUnreachable(failure) || ++this.#resumptions > RESUMPTIONS_MAX) throw failure
      const next = await open(this.#position)
      if (this.destroyed) {
        next.destroy()
        return
      }
      this.#follow(next)
      this._read()
    } catch (error) {
      this.destroy(hdfsError(error, key))
    }
  }

  #stopWatching(): void {
    clearTimeout(this.#watch)
    this.#watch = undefined
  }
}
