import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { finished, type Readable } from 'node:stream'
import { cancelled } from '@millrace/kit/errors'
import { isLost } from '../system-errors.ts'
import type { HttpConfig } from './config.ts'
import { HttpFailure } from './errors.ts'
import type { HttpLocation } from './location.ts'

const CONNECT_TIMEOUT_MS = 10_000
const CONNECTIONS_MAX = 256
const KEPT_MS_MAX = 4_000
const ATTEMPTS_MAX = 3
const ERROR_BYTES_MAX = 64 * 1024
const JSON_BYTES_MAX = 64 * 1024 * 1024

export interface Call {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  path: string
  headers?: Record<string, string | number>
  /** Sent as JSON. */
  json?: unknown
  signal?: AbortSignal
}

/** Requests to other tracking servers over connections of its own. Redirects are not followed: they could lead anywhere. */
export class HttpClient implements Disposable {
  readonly #config: HttpConfig
  readonly #http: HttpAgent
  readonly #https: HttpsAgent

  constructor(config: HttpConfig) {
    this.#config = config
    // Servers close idle connections after 5 s (uvicorn, Node) without saying so; a shorter time spares most lost requests.
    const kept = { keepAlive: true, maxSockets: CONNECTIONS_MAX, noDelay: true, timeout: KEPT_MS_MAX }
    this.#http = new HttpAgent(kept)
    this.#https = new HttpsAgent({
      ...kept,
      rejectUnauthorized: config.verifyTls,
      ca: config.serverCertificates,
      cert: config.clientCertificate,
      key: config.clientCertificate,
    })
  }

  /** Longest silence of a server. */
  get timeoutMs(): number {
    return this.#config.timeoutMs
  }

  /** The answer, when it is a success; repeated when a kept connection turns out to be closed. */
  async send(location: HttpLocation, call: Call, content?: Buffer): Promise<IncomingMessage> {
    const body = call.json === undefined ? content : Buffer.from(JSON.stringify(call.json))
    for (let attempt = 1; ; attempt++) {
      const sent = this.#request(location, call, body && { length: body.length })
      try {
        const answer = answerOf(sent)
        sent.end(body)
        return await answer
      } catch (error) {
        if (attempt === ATTEMPTS_MAX || !sent.reusedSocket || !isLost(error)) throw error
      }
    }
  }

  async json(location: HttpLocation, call: Call): Promise<unknown> {
    const answer = await this.send(location, call)
    const content = await contentOf(answer, JSON_BYTES_MAX)
    if (!content) throw new Error('the answer is too long')
    return content.length === 0 ? {} : JSON.parse(content.toString())
  }

  /** Sends a body of any length as it comes, on a new connection, since it can't be sent twice. The body stays open when the server fails. */
  async stream(location: HttpLocation, call: Call, body: Readable, length: number | undefined): Promise<void> {
    const sent = this.#request(location, call, { length, once: true })
    const stopped = () => body.destroy(Object.assign(new Error('aborted'), { code: 'ABORT_ERR' }))
    call.signal?.addEventListener('abort', stopped, { once: true })
    if (call.signal?.aborted) stopped()
    try {
      const answer = await Promise.race([answerOf(sent), failing(body, sent)])
      answer.resume()
    } finally {
      call.signal?.removeEventListener('abort', stopped)
      body.unpipe(sent)
      sent.destroy()
    }
  }

  #request(
    location: HttpLocation,
    { method, path, headers, json, signal }: Call,
    body?: { length?: number; once?: boolean },
  ): ClientRequest {
    const { protocol, hostname, port, authorization } = location
    const isTls = protocol === 'https:'
    const agent = isTls ? this.#https : this.#http
    const options = {
      ...(body?.once && isTls ? this.#https.options : {}),
      hostname,
      port,
      method,
      path,
      signal,
      agent: body?.once ? false : agent,
      timeout: this.#config.timeoutMs,
      headers: {
        'Accept-Encoding': 'identity',
        ...(authorization ? { Authorization: authorization } : {}),
        ...(json === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...(body?.length === undefined ? {} : { 'Content-Length': body.length }),
        ...headers,
      },
    }
    const sent = isTls ? httpsRequest(options) : httpRequest(options)
    const late = () => sent.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' }))
    sent.once('timeout', late)
    sent.once('socket', socket => {
      if (!socket.connecting) return
      const connecting = setTimeout(late, CONNECT_TIMEOUT_MS)
      socket.once('connect', () => clearTimeout(connecting))
      socket.once('close', () => clearTimeout(connecting))
    })
    return sent
  }

  [Symbol.dispose](): void {
    this.#http.destroy()
    this.#https.destroy()
  }
}

function answerOf(sent: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.on('error', reject)
    sent.once('response', answer => {
      const status = answer.statusCode ?? 500
      if (status >= 200 && status < 300) resolve(answer)
      else failureOf(status, answer).then(reject, reject)
    })
  })
}

/** Sends the body; settles only when the body fails, since the answer is what says that all went well. */
function failing(body: Readable, sent: ClientRequest): Promise<never> {
  return new Promise((_resolve, reject) => {
    finished(body, { writable: false }, error => {
      if (error) reject(cancelled('The upload was cut off', { cause: error }))
    })
    body.pipe(sent)
  })
}

async function failureOf(status: number, answer: IncomingMessage): Promise<HttpFailure> {
  const content = await contentOf(answer, ERROR_BYTES_MAX).catch(() => undefined)
  const said = content?.toString() ?? ''
  try {
    const { error_code } = JSON.parse(said)
    return new HttpFailure(status, said, typeof error_code === 'string' ? error_code : undefined)
  } catch {
    return new HttpFailure(status, said)
  }
}

/** Undefined when it is longer than `bytesMax`. */
async function contentOf(answer: IncomingMessage, bytesMax: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > bytesMax) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
