import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { addAbortSignal, type Readable } from 'node:stream'
import { sendStreamed } from '../streamed-body.ts'
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

  /** The answer's JSON; undefined when it has no body. */
  async json(location: HttpLocation, call: Call): Promise<unknown> {
    const answer = await this.send(location, call)
    const content = await contentOf(answer, JSON_BYTES_MAX)
    if (!content) throw new Error('the answer is too long')
    return content.length === 0 ? undefined : JSON.parse(content.toString())
  }

  /** Sends a body of any length as it comes, on a new connection, since it can't be sent twice. The body stays open when the server fails. */
  async stream(location: HttpLocation, call: Call, body: Readable, length: number | undefined): Promise<void> {
    if (call.signal) addAbortSignal(call.signal, body)
    const sent = this.#request(location, call, { length, once: true })
    try {
      const answer = await sendStreamed(sent, { stream: body, length }, this.timeoutMs)
      ;(await successOf(answer)).resume()
    } finally {
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
      timeout: body?.once ? undefined : this.timeoutMs,
      headers: {
        'Accept-Encoding': 'identity',
        ...(authorization ? { Authorization: authorization } : {}),
        ...(json === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...(body?.length === undefined ? {} : { 'Content-Length': body.length }),
        ...headers,
      },
    }
    return isTls ? httpsRequest(options) : httpRequest(options)
  }

  [Symbol.dispose](): void {
    this.#http.destroy()
    this.#https.destroy()
  }
}

/** The answer, when it is a success. */
async function answerOf(sent: ClientRequest): Promise<IncomingMessage> {
  const late = () => sent.destroy(noAnswer())
  sent.once('timeout', late)
  sent.once('socket', socket => {
    if (!socket.connecting) return
    const connecting = setTimeout(late, CONNECT_TIMEOUT_MS)
    socket.once('connect', () => clearTimeout(connecting))
    socket.once('close', () => clearTimeout(connecting))
  })
  return successOf(
    await new Promise<IncomingMessage>((resolve, reject) => {
      sent.on('error', reject)
      sent.once('response', resolve)
    }),
  )
}

const noAnswer = () => Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })

async function successOf(answer: IncomingMessage): Promise<IncomingMessage> {
  const status = answer.statusCode ?? 500
  if (status >= 200 && status < 300) return answer
  throw await failureOf(status, answer)
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
