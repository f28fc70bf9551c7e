import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import type { Readable } from 'node:stream'
import { type StreamedBody, sendStreamed } from '../streamed-body.ts'
import { silence } from './errors.ts'

const CONNECT_TIMEOUT_MS = 10_000
const CONNECTIONS_MAX = 256

export interface HttpCall {
  method: string
  /** As it goes over the wire: nothing is normalised. */
  url: string
  headers: Record<string, string>
  body?: Buffer | StreamedBody
  signal?: AbortSignal
}

/** Kept connections to the hosts of one configuration. */
export class Connection implements Disposable {
  readonly timeoutMs: number
  readonly #http: HttpAgent
  readonly #https: HttpsAgent
  readonly #ca: string | undefined

  constructor(timeoutMs: number, ca?: string) {
    const agent = { keepAlive: true, maxSockets: CONNECTIONS_MAX, noDelay: true }
    this.timeoutMs = timeoutMs
    this.#ca = ca
    this.#http = new HttpAgent(agent)
    this.#https = new HttpsAgent({ ...agent, ca })
  }

  /**
   * The answer of whatever status as soon as its headers are there. Its consumer reads or destroys it.
   * @throws CANCELLED when the body fails; else Node's error, or SILENT_STORE.
   */
  async send({ method, url, headers, body, signal }: HttpCall): Promise<IncomingMessage> {
    const [, protocol, hostname = '', port, path = '/'] = /^(https?:)\/\/(\[[^\]]*\]|[^:/?#]+)(?::(\d+))?(.*)$/.exec(url) ?? []
    const secure = protocol === 'https:'
    const streamed = body !== undefined && !Buffer.isBuffer(body) ? body : undefined
    const agent = streamed ? false : secure ? this.#https : this.#http
    const options: RequestOptions = {
      method,
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port,
      path: path.startsWith('/') ? path : `/${path}`,
      headers,
      agent,
      signal,
    }
    const call = secure ? requestHttps({ ...options, ca: this.#ca }) : requestHttp(options)
    if (streamed) return sendStreamed(call, streamed, this.timeoutMs)
    return new Promise((resolve, reject) => {
      limitTime(call, this.timeoutMs)
      call.once('error', reject)
      call.once('response', resolve)
      call.end(body)
    })
  }

  [Symbol.dispose](): void {
    this.#http.destroy()
    this.#https.destroy()
  }
}

function limitTime(call: ClientRequest, timeoutMs: number): void {
  const giveUp = () => call.destroy(silence())
  call.setTimeout(timeoutMs, giveUp)
  call.once('socket', socket => {
    if (!socket.connecting) return
    const timer = setTimeout(giveUp, Math.min(CONNECT_TIMEOUT_MS, timeoutMs))
    for (const event of ['connect', 'close']) socket.once(event, () => clearTimeout(timer))
  })
}

/** A small answer as text. */
export async function textOfAnswer(answer: Readable): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
