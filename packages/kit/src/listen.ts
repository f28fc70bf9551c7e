import { createServer as createHttp1, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createHttp2, type ServerHttp2Session } from 'node:http2'
import { type AddressInfo, createServer as createTcp, type Socket } from 'node:net'
import { Exchanges } from './exchanges.ts'
import { endWithClient, sayLast } from './http2-ends.ts'
import type { Metric } from './metrics.ts'
import { inTurn } from './pipelining.ts'
import { sniff } from './sniff.ts'

export interface ListenOptions {
  host: string
  /** 0 picks a free port. */
  port: number
  handler: RequestListener
  /** How long `close` waits for requests in flight before it cuts them, in milliseconds. */
  drainTimeoutMs?: number
  limits?: Partial<ListenLimits>
}

export interface ListenLimits {
  /** From the first byte of a request to the end of its headers. */
  headersMs: number
  /** How long a body may wait for its client, who sends or reads nothing of it. */
  bodyIdleMs: number
  /** A session of HTTP/2 without streams on which nothing moves, not even a PING, is closed after so long. */
  sessionIdleMs: number
  /** Requests at once on one connection of HTTP/2. */
  http2StreamsMax: number
}

const DEFAULT_LIMITS: ListenLimits = { headersMs: 60_000, bodyIdleMs: 120_000, sessionIdleMs: 300_000, http2StreamsMax: 128 }

/** A listening port. Disposing it stops accepting, lets requests in flight end, then closes every connection. */
export interface Listener extends AsyncDisposable {
  readonly host: string
  readonly port: number
  readonly url: string
  /** Connections and requests in progress. */
  readonly metrics: readonly Metric[]
}

const DRAIN_TIMEOUT_MS = 30_000
/** After a stop has begun, idle connections stay open so long: a request that is on its way is answered, with word of the end. */
const LINGER_MS = 2_000
const IDLE_CHECK_MS = 50
const KEEP_ALIVE_TIMEOUT_MS = 75_000
/** How often Node looks for headers that are late. */
const HEADERS_CHECK_MS_MAX = 15_000
/** Of the line and the headers of a request. MLflow takes 64 KiB and more. */
const HEADER_BYTES_MAX = 128 * 1024

/**
 * Serves HTTP/1.1 and HTTP/2 without TLS (prior knowledge, RFC 9113 section 3.3) on one port: the first bytes of a
 * connection say which. Both go to the same handler through Node's compatible request and response objects.
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { host, port, drainTimeoutMs = DRAIN_TIMEOUT_MS } = options
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const exchanges = new Exchanges(limits.bodyIdleMs)
  const sockets = new Set<Socket>()
  const undecided = new Set<Socket>()
  const sessions = new Set<ServerHttp2Session>()
  let isStopping = false

  const serveInTurn = (req: IncomingMessage, res: ServerResponse, serve: RequestListener) =>
    inTurn(req, res, over => {
      exchanges.add(req, res, over)
      if (isFramedPlainly(req, res)) serve(req, res)
    })
  const http1 = createHttp1({
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    headersTimeout: limits.headersMs,
    connectionsCheckingInterval: Math.min(HEADERS_CHECK_MS_MAX, limits.headersMs / 2),
    // Uploads may take hours; what stands still is given up by `exchanges`.
    requestTimeout: 0,
    maxHeaderSize: HEADER_BYTES_MAX,
    noDelay: true,
  })
  // A client may close its side once it has sent its request.
  Object.assign(http1, { httpAllowHalfOpen: true })
  http1.on('request', (req: IncomingMessage, res: ServerResponse) => serveInTurn(req, res, options.handler))
  http1.on('checkContinue', (req: IncomingMessage, res: ServerResponse) =>
    serveInTurn(req, res, () => {
      continueWhenRead(req, res)
      options.handler(req, res)
    }),
  )
  // Node counts connections, and cuts slow headers, only from this event on; the server itself never listens.
  http1.emit('listening')

  const http2 = createHttp2({ settings: { maxConcurrentStreams: limits.http2StreamsMax, maxHeaderListSize: HEADER_BYTES_MAX } })
  http2.on('request', (request, response) => {
    const [req, res] = [request as unknown as IncomingMessage, response as unknown as ServerResponse]
    exchanges.add(req, res)
    options.handler(req, res)
  })
  http2.on('session', session => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
    session.on('error', () => session.destroy())
    endWithClient(session, limits.sessionIdleMs)
    if (isStopping) sayLast(session)
  })
  http2.on('sessionError', () => undefined)

  const tcp = createTcp({ noDelay: true, pauseOnConnect: false, allowHalfOpen: true }, socket => {
    sockets.add(socket)
    undecided.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      undecided.delete(socket)
    })
    socket.on('error', () => socket.destroy())
    sniff(socket, protocol => {
      undecided.delete(socket)
      ;(protocol === 'http2' ? http2 : http1).emit('connection', socket)
    })
  })
  await new Promise<void>((resolve, reject) => {
    tcp.once('error', reject)
    tcp.listen(port, host, () => {
      tcp.off('error', reject)
      resolve()
    })
  })
  tcp.on('error', () => undefined)

  const address = tcp.address() as AddressInfo
  const shown = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return {
    host,
    port: address.port,
    url: `http://${shown}:${address.port}`,
    metrics: metricsOf(exchanges, sockets),
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>(resolve => tcp.close(() => resolve()))
      isStopping = true
      exchanges.closeAfterResponses()
      for (const session of sessions) sayLast(session)
      let idle: NodeJS.Timeout | undefined
      const linger = setTimeout(() => {
        for (const session of sessions) session.close()
        for (const socket of undecided) socket.destroy()
        http1.close(() => undefined)
        idle = setInterval(() => http1.closeIdleConnections(), IDLE_CHECK_MS)
      }, LINGER_MS)
      const cut = setTimeout(() => {
        for (const socket of sockets) socket.destroy()
      }, drainTimeoutMs)
      await closed
      for (const timer of [linger, idle, cut]) clearTimeout(timer)
      http1.close(() => undefined)
      exchanges[Symbol.dispose]()
    },
  }
}

function metricsOf(exchanges: Exchanges, sockets: ReadonlySet<Socket>): Metric[] {
  const one = (value: () => number) => () => [{ value: value() }]
  return [
    { name: 'millrace_http_connections', help: 'Open connections', type: 'gauge', values: one(() => sockets.size) },
    {
      name: 'millrace_http_requests_in_progress',
      help: 'Requests that are not answered yet, besides the one that asks for this',
      type: 'gauge',
      values: one(() => exchanges.size - 1),
    },
    {
      name: 'millrace_http_requests_given_up_total',
      help: 'Requests given up because their client neither sent nor read for too long',
      type: 'counter',
      values: one(() => exchanges.givenUp),
    },
  ]
}

/** False when it refused a request that two servers could read in two ways (RFC 9112 sections 3.2 and 6.1). */
function isFramedPlainly(req: IncomingMessage, res: ServerResponse): boolean {
  const coding = req.headers['transfer-encoding']
  if (coding !== undefined && coding.trim().toLowerCase() !== 'chunked') return refuse(res, 501, 'The transfer coding is not implemented.')
  const { rawHeaders } = req
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++
  }
  return hosts <= 1 || refuse(res, 400, 'The request has more than one Host header.')
}

function refuse(res: ServerResponse, status: number, message: string): false {
  const body = JSON.stringify({ error_code: status === 501 ? 'NOT_IMPLEMENTED' : 'BAD_REQUEST', message })
  res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), Connection: 'close' })
  res.end(body)
  return false
}

/** Asks for the body that a client waits to send (RFC 9110 section 10.1.1) when somebody reads it: a refused request never sends it. */
function continueWhenRead(request: IncomingMessage, response: ServerResponse): void {
  const { _read: read } = request
  request._read = size => {
    request._read = read
    if (!response.headersSent) response.writeContinue()
    read.call(request, size)
  }
}
