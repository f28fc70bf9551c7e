import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Serves a request, and has to call `over` when its response is closed. */
type Serve = (over: () => void) => void

/**
 * Requests that a client of HTTP/1 sent without waiting for responses (RFC 9112 section 9.3.2), which are served one after the other. Node
 * begins all of them at once: thousands, of few bytes and one connection, each with what it takes. While one waits, nothing more is read.
 */
class Turns {
  readonly #socket: Socket
  readonly #waiting: Serve[] = []
  #isBusy = false

  constructor(socket: Socket) {
    this.#socket = socket
    // Node resumes it by itself, at the end of every request and when its client has read something.
    socket.on('resume', () => {
      if (this.#waiting.length > 0) socket.pause()
    })
  }

  take(req: IncomingMessage, res: ServerResponse, serve: Serve): void {
    if (this.#isBusy) {
      for (const stream of [req, res]) stream.on('error', () => undefined)
      this.#waiting.push(serve)
      this.#socket.pause()
      return
    }
    this.#isBusy = true
    serve(this.#next)
  }

  readonly #next = () => {
    // Other connections come in between.
    if (this.#waiting.length > 0) setImmediate(this.#serveWaiting)
    else this.#isBusy = false
  }

  readonly #serveWaiting = () => {
    // On a connection that is gone, no response would ever be closed.
    if (this.#socket.destroyed) return
    this.#waiting.shift()?.(this.#next)
    if (this.#waiting.length === 0) this.#socket.resume()
  }
}

const turns = new WeakMap<Socket, Turns>()

/** Has a request served once those before it on its connection are answered, if the connection still stands then. */
export function inTurn(req: IncomingMessage, res: ServerResponse, serve: Serve): void {
  const { socket } = req
  const own = turns.get(socket) ?? new Turns(socket)
  turns.set(socket, own)
  own.take(req, res, serve)
}
