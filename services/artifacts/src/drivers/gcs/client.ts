import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { isTaken, type StreamedBody, sendStreamed } from '../streamed-body.ts'
import type { GcsConfig } from './config.ts'
import type { Credentials } from './credentials.ts'
import { GcsFailure, isPassing, isRefusedToken, timedOut } from './errors.ts'

const CONNECT_TIMEOUT_MS = 10_000
const CONNECTIONS_MAX = 256
const ATTEMPTS_MAX = 4
const FIRST_DELAY_MS = 200
/** Of an answer that is read whole: a page of 1,000 names of 1,024 bytes, escaped, fits. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024

export interface GcsRequest {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Below the endpoint; or a whole URL that the store gave. */
  path: string
  query?: Record<string, string | number | boolean | undefined>
  headers?: Record<string, string>
  body?: readonly Buffer[] | StreamedBody
  signal?: AbortSignal
  /** Statuses besides 2xx that aren't failures. */
  alsoFine?: readonly number[]
}

export interface GcsAnswer {
  status: number
  headers: IncomingMessage['headers']
  text: string
}

/**
 * Requests of Cloud Storage with the server's credentials. Every request may be sent again: each either changes nothing or says the
 * same the second time, and is sent again up to three times when the store is busy or the connection is lost, and with a new token
 * when the store refuses the one that it had. But not once something of a streamed body was taken.
 */
export class GcsClient implements Disposable {
  readonly #config: GcsConfig
  readonly #credentials: Credentials
  readonly #agents: { 'http:': HttpAgent; 'https:': HttpsAgent }

  constructor(config: GcsConfig, credentials: Credentials) {
    const options = { keepAlive: true, maxSockets: CONNECTIONS_MAX, noDelay: true }
    this.#config = config
    this.#credentials = credentials
    this.#agents = { 'http:': new HttpAgent(options), 'https:': new HttpsAgent({ ...options, ca: config.caBundle }) }
  }

  /** @throws GcsFailure for an answer that is none of the fine ones. */
  async send(request: GcsRequest): Promise<GcsAnswer> {
    return this.#repeated(request, async () => {
      const answer = await this.#once(request)
      return { status: answer.statusCode ?? 0, headers: answer.headers, text: await textOf(answer) }
    })
  }

  async json<T>(request: GcsRequest): Promise<T> {
    return JSON.parse((await this.send(request)).text) as T
  }

  /** The answer as soon as its head is there. Whoever reads the body watches over its silence. */
  async open(request: GcsRequest): Promise<IncomingMessage> {
    const answer = await this.#repeated(request, () => this.#once(request))
    answer.socket.setTimeout(0)
    return answer
  }

  [Symbol.dispose](): void {
    for (const agent of Object.values(this.#agents)) agent.destroy()
  }

  async #repeated<T>(request: GcsRequest, action: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await action()
      } catch (error) {
        if (attempt === ATTEMPTS_MAX || request.signal?.aborted || isSpent(request) || !isPassing(error)) throw error
      }
      await sleep(FIRST_DELAY_MS * 2 ** (attempt - 1) * (1 + Math.random()), undefined, { signal: request.signal })
    }
  }

  async #once(request: GcsRequest): Promise<IncomingMessage> {
    request.signal?.throwIfAborted()
    const url = this.#urlOf(request)
    const credentials = await this.#credentials.headers(url.href)
    try {
      return await this.#answered(url, request, credentials)
    } catch (error) {
      if (!isRefusedToken(error) || !(await this.#credentials.renew(url.href, credentials)) || isSpent(request)) throw error
      return this.#answered(url, request, await this.#credentials.headers(url.href))
    }
  }

  async #answered(url: URL, request: GcsRequest, credentials: Record<string, string>): Promise<IncomingMessage> {
    const answer = await this.#exchange(url, request, { ...credentials, ...request.headers })
    const status = answer.statusCode ?? 0
    if ((status >= 200 && status < 300) || request.alsoFine?.includes(status)) return answer
    throw new GcsFailure(status, reasonOf(await textOf(answer)))
  }

  #urlOf({ path, query }: GcsRequest): URL {
    const url = new URL(path.startsWith('/') ? `${this.#config.endpoint}${path}` : path)
    for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) url.searchParams.set(name, String(value))
    return url
  }

  #exchange(url: URL, { method, body = [], signal }: GcsRequest, headers: Record<string, string>): Promise<IncomingMessage> {
    const { timeoutMs: timeout, caBundle: ca } = this.#config
    if (isStreamed(body)) {
      const options = {
        method,
        signal,
        agent: false as const,
        headers: { ...headers, 'Content-Length': body.length, Expect: '100-continue' },
      }
      const call = url.protocol === 'https:' ? requestHttps(url, { ...options, ca }) : requestHttp(url, options)
      return sendStreamed(call, body, timeout)
    }
    const length = body.reduce((sum, { length }) => sum + length, 0)
    const options = {
      method,
      signal,
      timeout,
      headers: { ...headers, ...(method === 'GET' || method === 'DELETE' ? {} : { 'Content-Length': length }) },
    }
    return new Promise((resolve, reject) => {
      const sent =
        url.protocol === 'https:'
          ? requestHttps(url, { ...options, agent: this.#agents['https:'] })
          : requestHttp(url, { ...options, agent: this.#agents['http:'] })
      sent.once('response', resolve)
      sent.on('error', reject)
      sent.once('timeout', () => sent.destroy(timedOut()))
      sent.once('socket', socket => {
        if (!socket.connecting) return
        const limit = setTimeout(() => sent.destroy(timedOut()), Math.min(timeout, CONNECT_TIMEOUT_MS))
        const settle = () => clearTimeout(limit)
        socket.once('connect', settle).once('close', settle)
      })
      for (const bytes of body) sent.write(bytes)
      sent.end()
    })
  }
}

const isStreamed = (body: GcsRequest['body']): body is StreamedBody => body !== undefined && 'stream' in body

const isSpent = ({ body }: GcsRequest) => isStreamed(body) && isTaken(body)

async function textOf(answer: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of answer as AsyncIterable<Buffer>) {
    length += part.length
    if (length > ANSWER_BYTES_MAX) throw new GcsFailure(answer.statusCode ?? 0, 'answer too long')
    parts.push(part)
  }
  return Buffer.concat(parts).toString()
}

/** Of the JSON API's error; the upload and XML endpoints answer with others, of which the status has to do. */
function reasonOf(text: string): string {
  try {
    const { error } = JSON.parse(text) as { error?: { errors?: { reason?: unknown }[] } }
    const reason = error?.errors?.[0]?.reason
    return typeof reason === 'string' && /^[\w .-]{1,60}$/.test(reason) ? reason : ''
  } catch {
    return ''
  }
}
