import { createServer as createHttp1, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createHttp2, type Http2ServerRequest, type Http2ServerResponse, type ServerHttp2Session } from 'node:http2'
import { type AddressInfo, createServer as createTcp, type Socket } from 'node:net'

export interface ListenOptions {
  host: string
  /** 0 picks a free port. */
  port: number
  handler: RequestListener
  /** How long `close` waits for requests in flight before it cuts them, in milliseconds. */
  drainTimeoutMs?: number
}

/** A listening port. Disposing it stops accepting, lets requests in flight end, then closes every connection. */
export interface Listener extends AsyncDisposable {
  readonly host: string
  readonly port: number
  readonly url: string
}

const PREFACE = Buffer.from('PRI * HTTP/2.0')
const DRAIN_TIMEOUT_MS = 30_000
const KEEP_ALIVE_TIMEOUT_MS = 75_000
const FIRST_BYTE_TIMEOUT_MS = 60_000

/**
 * Serves HTTP/1.1 and HTTP/2 without TLS (prior knowledge, RFC 9113 section 3.3) on one port: the first bytes of a
 * connection say which. Both go to the same handler through Node's compatible request and response objects.
 */
export async function listen({ host, port, handler, drainTimeoutMs = DRAIN_TIMEOUT_MS }: ListenOptions): Promise<Listener> {
  const http1 = createHttp1({ keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS, requestTimeout: 0, noDelay: true }, handler)
  // Node counts connections, and cuts slow headers, only from this event on; the server itself never listens.
  http1.emit('listening')
  http1.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    continueWhenRead(request, response)
    handler(request, response)
  })
  const http2 = createHttp2({}, handler as unknown as (q: Http2ServerRequest, s: Http2ServerResponse) => void)
  const sockets = new Set<Socket>()
  const sessions = new Set<ServerHttp2Session>()
  http2.on('session', session => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
    session.on('error', () => session.destroy())
  })
  const tcp = createTcp({ noDelay: true, pauseOnConnect: false }, socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.setTimeout(FIRST_BYTE_TIMEOUT_MS, () => socket.destroy())
    const sniff = () => {
      const head: Buffer | null = socket.read()
      if (!head) return
      const known = Math.min(head.length, PREFACE.length)
      const isHttp2 = head.subarray(0, known).equals(PREFACE.subarray(0, known))
      if (isHttp2 && head.length < PREFACE.length) return void socket.unshift(head)
      socket.off('readable', sniff)
      socket.setTimeout(0)
      socket.removeAllListeners('timeout')
      socket.unshift(head)
      ;(isHttp2 ? http2 : http1).emit('connection', socket)
    }
    socket.on('readable', sniff)
  })
  await new Promise<void>((resolve, reject) => {
    tcp.once('error', reject)
    tcp.listen(port, host, () => {
      tcp.off('error', reject)
      resolve()
    })
  })
  const address = tcp.address() as AddressInfo
  const shown = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return {
    host,
    port: address.port,
    url: `http://${shown}:${address.port}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>(resolve => tcp.close(() => resolve()))
      http1.close(() => undefined)
      for (const session of sessions) session.close()
      const idle = setInterval(() => http1.closeIdleConnections(), 50)
      const cut = setTimeout(() => {
        for (const socket of sockets) socket.destroy()
      }, drainTimeoutMs)
      await closed
      clearInterval(idle)
      clearTimeout(cut)
    },
  }
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
