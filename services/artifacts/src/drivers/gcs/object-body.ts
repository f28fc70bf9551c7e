import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { gcsError, isPassing, timedOut } from './errors.ts'

const RESUMPTIONS_MAX = 3
const BUFFER_BYTES = 256 * 1024

export interface ObjectBodyOptions {
  /** The part of the object that begins at a byte, of the same generation. */
  open(start: number): Promise<IncomingMessage>
  key: string
  /** First byte, and the one after the last. */
  start: number
  end: number
  timeoutMs: number
  signal?: AbortSignal
}

/**
 * Bytes of one object that go on where they were when the connection is lost, or when one answer holds only a part of them. Only a
 * store that is asked for bytes has a time limit: a slow reader hasn't.
 */
export class ObjectBody extends Readable {
  readonly #options: ObjectBodyOptions
  #source: IncomingMessage
  #position: number
  #resumptions = 0
  #watch: NodeJS.Timeout | undefined

  constructor(first: IncomingMessage, options: ObjectBodyOptions) {
    super({ highWaterMark: BUFFER_BYTES })
    this.#options = options
    this.#position = options.start
    this.#source = first
    this.#follow(first)
  }

  override _read(): void {
    this.#watch ??= setTimeout(() => this.#source.destroy(timedOut()), this.#options.timeoutMs)
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
    const finish = (failure?: unknown) => {
      if (!open) return
      open = false
      this.#stopWatching()
      if (!this.destroyed) void this.#goOn(failure)
    }
    source.on('data', (chunk: Buffer) => {
      this.#position += chunk.length
      this.#resumptions = 0
      if (!this.push(chunk)) {
        this.#stopWatching()
        source.pause()
      } else this.#watch?.refresh()
    })
    source.once('end', () => finish())
    source.once('error', finish)
    source.once('close', () => finish(Object.assign(new Error('closed'), { code: 'ECONNRESET' })))
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
      if (failure && (!isPassing(failure) || ++this.#resumptions > RESUMPTIONS_MAX)) throw failure
      const next = await open(this.#position)
      if (this.destroyed) {
        next.destroy()
        return
      }
      this.#follow(next)
      this._read()
    } catch (error) {
      this.destroy(gcsError(error, key))
    }
  }

  #stopWatching(): void {
    clearTimeout(this.#watch)
    this.#watch = undefined
  }
}
