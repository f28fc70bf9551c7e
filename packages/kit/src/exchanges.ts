import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type ServerHttp2Stream } from 'node:http2'

/** Looks at the bodies on their way so often, unless they have less time. */
const SWEEP_MS_MAX = 5_000

const STALLED = '{"error_code": "BAD_REQUEST", "message": "The request body made no progress for too long."}'
const STALLED_ANSWER =
  'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n' +
  `Content-Length: ${STALLED.length}\r\n\r\n${STALLED}`

interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** Present for HTTP/2, whose streams share a socket. */
  readonly stream: ServerHttp2Stream | undefined
  /** Grows whenever bytes move on the stream. */
  moves: number
  seen: number
  /** When something moved last, or the client was not who was waited for; of performance.now(). */
  movedAt: number
}

/**
 * The requests of a port from their first byte until their response is closed. Each has a listener for errors all that time: a client
 * that goes away fails its own request and nothing else, whoever was listening at that moment. A body, of a request or a response, that waits
 * for the client and makes no progress is given up.
 */
export class Exchanges implements Disposable {
  readonly #open = new Set<Exchange>()
  readonly #idleMs: number
  readonly #timer: NodeJS.Timeout
  #isClosing = false
  #givenUp = 0

  constructor(idleMs: number) {
    this.#idleMs = idleMs
    this.#timer = setInterval(() => this.#sweep(performance.now()), Math.min(SWEEP_MS_MAX, idleMs / 4))
    this.#timer.unref()
  }

  get size(): number {
    return this.#open.size
  }

  /** Requests that were given up because their client stood still. */
  get givenUp(): number {
    return this.#givenUp
  }

  /** @param over called when it is closed. */
  add(req: IncomingMessage, res: ServerResponse, over?: () => void): void {
    const stream = (req as unknown as { stream?: ServerHttp2Stream }).stream
    const exchange: Exchange = { req, res, stream, moves: 0, seen: 0, movedAt: performance.now() }
    req.on('error', ignore)
    res.on('error', ignore)
    if (stream) follow(exchange, stream)
    this.#open.add(exchange)
    res.once('close', () => {
      this.#open.delete(exchange)
      over?.()
    })
    if (this.#isClosing) closeAfter(exchange)
  }

  /** From now on every response says that its connection ends with it. */
  closeAfterResponses(): void {
    this.#isClosing = true
    for (const exchange of this.#open) closeAfter(exchange)
  }

  #sweep(now: number): void {
    for (const exchange of this.#open) {
      const { req, res, stream } = exchange
      const moves = stream ? exchange.moves + res.writableLength : req.socket.bytesRead + req.socket.bytesWritten
      if (hasClosedItsSide(exchange)) res.writeContinue()
      // Even the end of an empty body waits for a client of HTTP/2 that lets nothing be sent.
      const isWritten = stream !== undefined && res.writableEnded
      const isStill = moves === exchange.seen && (needsClient(req) || res.writableLength > 0 || isWritten)
      exchange.seen = moves
      if (!isStill) exchange.movedAt = now
      else if (now - exchange.movedAt >= this.#idleMs) this.#giveUp(exchange)
    }
  }

  #giveUp({ req, res, stream }: Exchange): void {
    this.#givenUp++
    if (stream) return void stream.close(constants.NGHTTP2_CANCEL)
    const { socket } = req
    if (res.headersSent || !socket.writable) return void socket.destroy()
    socket.end(STALLED_ANSWER, () => socket.destroy())
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

const ignore = () => undefined

/** Counts what moves on a stream of HTTP/2; on HTTP/1 the socket counts. */
function follow(exchange: Exchange, stream: ServerHttp2Stream): void {
  const moved = () => {
    exchange.moves++
  }
  stream.on('error', ignore)
  stream.on('drain', moved)
  const { req } = exchange
  if (req.complete) return
  const { push } = req
  req.push = (chunk, encoding) => {
    moved()
    return push.call(req, chunk, encoding)
  }
}

/** Whether somebody reads the body and nothing of it is there. While nobody does, or what came first waits, it is not the client's turn. */
function needsClient(req: IncomingMessage): boolean {
  return !req.complete && req.readableFlowing !== null && !req.isPaused() && req.readableLength === 0
}

/**
 * Whether a client waits for its response with its own side closed, or is gone: only the network's refusal of what is written tells. An
 * interim response, which every client of HTTP/1.1 has to skip (RFC 9110 section 15.2), asks for it.
 */
function hasClosedItsSide({ req, res, stream }: Exchange): boolean {
  return !stream && req.complete && req.socket.readableEnded && !res.headersSent && req.httpVersionMinor === 1
}

function closeAfter({ res, stream }: Exchange): void {
  if (!stream && !res.headersSent) res.shouldKeepAlive = false
}
