import { addAbortSignal, finished, type Readable, Transform } from 'node:stream'
import { TLSSocket } from 'node:tls'

/**
 * A body for an upload that always comes to an end. FTP tells a whole file from half a one by nothing, and a session whose transfer was
 * broken off is lost; so when the body fails, the upload ends as usual and is then thrown away. The body stays open when the server fails.
 */
export class Source extends Transform {
  /** Why the body failed. */
  failure: Error | undefined
  bytes = 0
  readonly #body: Readable
  readonly #timeoutMs: number

  constructor(body: Readable, timeoutMs: number, signal?: AbortSignal) {
    super()
    this.#timeoutMs = timeoutMs
    this.#body = body
    if (signal) addAbortSignal(signal, body)
    finished(body, { writable: false }, error => {
      if (!error) return
      this.failure = error
      this.end()
    })
    body.pipe(this)
  }

  /**
   * Waits for the server to prove itself before anything is sent. The library begins earlier, when an empty body could even end the
   * connection in the middle of its handshake.
   */
  override pipe<T extends NodeJS.WritableStream>(destination: T, options?: { end?: boolean }): T {
    if (!(destination instanceof TLSSocket) || !isConnecting(destination)) return super.pipe(destination, options)
    const late = setTimeout(() => destination.destroy(new Error('Timeout (TLS handshake)')), this.#timeoutMs)
    destination.once('close', () => clearTimeout(late))
    destination.once('secureConnect', () => {
      clearTimeout(late)
      super.pipe(destination, options)
    })
    return destination
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: (error: null, chunk: Buffer) => void): void {
    this.bytes += chunk.length
    done(null, chunk)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#body.unpipe(this)
    done(error)
  }
}

/** Node's name for it, which its types lack. */
const isConnecting = (socket: TLSSocket) => 'secureConnecting' in socket && socket.secureConnecting === true
