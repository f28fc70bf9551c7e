import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { RemoteFailure, SilentStore } from './errors.ts'

const CONNECT_TIMEOUT_MS = 10_000
const CONNECTIONS_MAX = 256
/** Of an answer that is read whole: a page of 1,000 files with names of 255 characters, escaped, fits. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024

export interface Exchange {
  method: 'GET' | 'PUT' | 'DELETE'
  headers?: Record<string, string>
  signal?: AbortSignal
}

/** HTTP with name nodes, data nodes and gateways. The limit is for silence; a body that is read or sent has its own watch. */
export class Wire implements Disposable {
  readonly timeoutMs: number
  readonly #agents: { 'http:': HttpAgent; 'https:': HttpsAgent }

  constructor(timeoutMs: number, caBundle: string | undefined) {
    const options = { keepAlive: true, maxSockets: CONNECTIONS_MAX, noDelay: true }
    this.timeoutMs = timeoutMs
    this.#agents = { 'http:': new HttpAgent(options), 'https:': new HttpsAgent({ ...options, ca: caBundle }) }
  }

  /** A request that isn't ended yet; the limit for connecting runs. */
  begin(url: URL, { method, headers, signal }: Exchange): ClientRequest {
    const options = { method, headers, signal }
    const request =
      url.protocol === 'https:'
        ? requestHttps(url, { ...options, agent: this.#agents['https:'] })
        : requestHttp(url, { ...options, agent: this.#agents['http:'] })
    request.once('socket', socket => {
      if (!socket.connecting) return
      const limit = setTimeout(() => request.destroy(new SilentStore('no connection')), Math.min(this.timeoutMs, CONNECT_TIMEOUT_MS))
      const settle = () => clearTimeout(limit)
      socket.once('encrypted' in socket ? 'secureConnect' : 'connect', settle).once('close', settle)
    })
    return request
  }

  /** The answer as soon as its head is there; `content` goes in one piece with the request's head. */
  async send(url: URL, exchange: Exchange, content = Buffer.alloc(0)): Promise<IncomingMessage> {
    const headers = { ...exchange.headers, ...(exchange.method === 'PUT' ? { 'Content-Length': String(content.length) } : {}) }
    const request = this.begin(url, { ...exchange, headers })
    const limit = setTimeout(() => request.destroy(new SilentStore('no answer')), this.timeoutMs)
    try {
      const answer = answerTo(request)
      request.end(content)
      return await answer
    } finally {
      clearTimeout(limit)
    }
  }

  /** An answer's whole text. */
  async textOf(answer: IncomingMessage): Promise<string> {
    const limit = setTimeout(() => answer.destroy(new SilentStore('half an answer')), this.timeoutMs)
    try {
      const parts: Buffer[] = []
      let length = 0
      for await (const part of answer as AsyncIterable<Buffer>) {
        length += part.length
        if (length > ANSWER_BYTES_MAX) throw new RemoteFailure(answer.statusCode ?? 0, '', 'the answer is too long')
        parts.push(part)
      }
      return Buffer.concat(parts).toString()
    } finally {
      clearTimeout(limit)
    }
  }

  /** @throws what the answer says, unless it is a success or one of the redirections that WebHDFS is made of. */
  async check(answer: IncomingMessage): Promise<IncomingMessage> {
    const { statusCode = 0 } = answer
    if ((statusCode >= 200 && statusCode < 300) || statusCode === 307) return answer
    throw failureOf(statusCode, await this.textOf(answer))
  }

  [Symbol.dispose](): void {
    for (const agent of Object.values(this.#agents)) agent.destroy()
  }
}

export function answerTo(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', resolve)
    request.on('error', reject)
  })
}

/** Source of the form: WebHDFS REST API, "Error Responses". */
function failureOf(status: number, text: string): RemoteFailure {
  try {
    const { RemoteException: about } = JSON.parse(text) as { RemoteException?: { exception?: unknown; message?: unknown } }
    if (typeof about?.exception === 'string') return new RemoteFailure(status, about.exception, String(about.message ?? ''))
  } catch {
    // A gateway's page, or nothing.
  }
  return new RemoteFailure(status, '', `HTTP ${status}`)
}
