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
  /** Whether the server was ready for it. */
  isBegun = false
  readonly #body: Readable
  readonly #timeoutMs: number
  #isPiped = false
  #end: (() => void) | undefined

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

  /** Waits for the server to prove itself before anything is sent, which the library doesn't. */
  override pipe<T extends NodeJS.WritableStream>(destination: T, options?: { end?: boolean }): T {
    this.isBegun = true
    const begin = () => {
      super.pipe(destination, options)
      this.#isPiped = true
      this.#end?.()
    }
    if (!(destination instanceof TLSSocket)) {
      begin()
      return destination
    }
    // Node calls it connected before its last part of the handshake is sent. An end would overtake that; a write, even of nothing, doesn't.
    const flush = () => destination.write(Buffer.alloc(0), failed => failed ?? begin())
    if (!isConnecting(destination)) {
      flush()
      return destination
    }
    const late = setTimeout(() => destination.destroy(new Error('Timeout (TLS handshake)')), this.#timeoutMs)
    destination.once('close', () => clearTimeout(late))
    destination.once('secureConnect', () => {
      clearTimeout(late)
      flush()
    })
    return destination
  }

  /** An empty body that had ended before would let the library end the connection at once, in the middle of its handshake. */
  override _flush(done: () => void): void {
    if (this.#isPiped) done()
    else this.#end = done
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
