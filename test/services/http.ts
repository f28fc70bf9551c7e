import { Agent, type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'

const REQUEST_TIMEOUT_MS = 120_000

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  text: string
  json(): unknown
}

export interface HttpClient extends Disposable {
  /** `path` goes out as it is: nothing is normalised or encoded. An object as body is sent as JSON. */
  send(method: string, path: string, body?: unknown, headers?: OutgoingHttpHeaders): Promise<Answer>
  /** Like `send`, but any status except 200 is an error. */
  ok<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T>
}

/** HTTP/1.1 over kept connections of its own. */
export function httpClient(base: string, connections = 64): HttpClient {
  const { hostname, port } = new URL(base)
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const send: HttpClient['send'] = (method, path, body, headers = {}) =>
    new Promise((resolve, reject) => {
      const raw = body === undefined || typeof body === 'string' || Buffer.isBuffer(body)
      const bytes = raw ? body : JSON.stringify(body)
      const length = bytes === undefined ? {} : { 'content-length': Buffer.byteLength(bytes) }
      const all = { ...(raw ? {} : { 'content-type': 'application/json' }), ...length, ...headers }
      const call = request({ hostname, port, method, path, headers: all, agent, timeout: REQUEST_TIMEOUT_MS }, response => {
        const chunks: Buffer[] = []
        response.on('data', chunk => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const whole = Buffer.concat(chunks)
          const text = whole.toString()
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: whole, text, json: () => JSON.parse(text) })
        })
      })
      call.on('timeout', () => call.destroy(new Error(`no answer to ${method} ${path} within ${REQUEST_TIMEOUT_MS} ms`)))
      call.on('error', reject)
      call.end(bytes)
    })
  return {
    send,
    async ok<T>(method: string, path: string, body?: unknown) {
      const answer = await send(method, path, body)
      if (answer.status !== 200) throw new Error(`${method} ${path} answered ${answer.status}: ${answer.text.slice(0, 500)}`)
      return answer.json() as T
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}

/** Writes bytes to a fresh connection as they are; answers all that comes back until the server closes or `quietMs` pass in silence. */
export function rawExchange(port: number, bytes: string | Buffer, quietMs = 2_000): Promise<string> {
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    socket.setTimeout(quietMs, () => socket.destroy())
    socket.on('data', chunk => chunks.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => resolve(Buffer.concat(chunks).toString()))
  })
}
