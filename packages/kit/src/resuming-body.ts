import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'

/** Before each attempt to go on, since bytes arrived last; a server that restarts needs a moment. */
const RESUMPTION_PAUSES_MS = [0, 500, 2_000]
const BUFFER_BYTES = 256 * 1024

/** Some stores tell times in seconds: only after so long does every change of an artifact have a time, and an ETag, of its own. */
const CHANGE_MS_MIN = 2_000

/** Whether another version of what begins to be read now would have another ETag, so that a body may go on by it. */
export function isToldApart({ etag, lastModified }: { etag?: string; lastModified?: Date }): boolean {
  return etag !== undefined && !etag.startsWith('W/') && lastModified !== undefined && Date.now() - lastModified.getTime() > CHANGE_MS_MIN
}

export interface ResumingBodyOptions {
  /** The bytes from one on, of the same version. */
  open(start: number): Promise<Readable>
  /** First byte, and the one after the last. */
  start: number
  end: number
  /** Longest silence of the store, and what it is called; without it the sources watch over their own. */
  timeoutMs?: number
  silence?(): Error
  signal?: AbortSignal
  /** Whether it may go better the next time. */
  isPassing(failure: unknown): boolean
  /** What the reader is told. */
  told(failure: unknown): Error
}

/**
 * Bytes of one object that go on where they were when the connection is lost, or when one answer holds only a part of them. Only a
 * store that is asked for bytes has a time limit: a slow reader hasn't.
 */
export class ResumingBody extends Readable {
  readonly #options: ResumingBodyOptions
  #source: Readable
  #position: number
  /** Since bytes arrived last. */
  #resumptions = 0
  #watch: NodeJS.Timeout | undefined

  constructor(first: Readable, options: ResumingBodyOptions) {
    super({ highWaterMark: BUFFER_BYTES })
    this.#options = options
    this.#position = options.start
    this.#source = first
    // It may fail before somebody reads it.
    this.on('error', () => undefined)
    this.#follow(first)
  }

  override _read(): void {
    const { silence, timeoutMs } = this.#options
    if (silence) this.#watch ??= setTimeout(() => this.#source.destroy(silence()), timeoutMs)
    this.#source.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stopWatching()
    this.#source.destroy()
    callback(error)
  }

  #follow(source: Readable): void {
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
        this.destroy(this.#options.told(new Error('more bytes than asked for')))
      } else if (!this.push(chunk)) {
        this.#stopWatching()
        source.pause()
      } else this.#watch?.refresh()
    })
    const ended = () => finish(Object.assign(new Error('the answer is over'), { code: 'ECONNRESET' }))
    source.once('end', ended)
    source.once('error', finish)
    source.once('close', ended)
    source.pause()
  }

  async #goOn(failure: unknown): Promise<void> {
    const { open, end, signal, isPassing, told } = this.#options
    if (this.#position >= end) {
      this.push(null)
      return
    }
    for (let reason = failure; !this.destroyed; ) {
      const pauseMs = RESUMPTION_PAUSES_MS[this.#resumptions++]
      if (signal?.aborted || !isPassing(reason) || pauseMs === undefined) {
        this.destroy(told(signal?.aborted ? signal.reason : reason))
        return
      }
      await pause(pauseMs, undefined, { signal }).catch(() => undefined)
      if (this.destroyed || signal?.aborted) continue
      try {
        const next = await open(this.#position)
        if (this.destroyed) {
          next.destroy()
          return
        }
        this.#follow(next)
        this._read()
        return
      } catch (error) {
        reason = error
      }
    }
  }

  #stopWatching(): void {
    clearTimeout(this.#watch)
    this.#watch = undefined
  }
}
