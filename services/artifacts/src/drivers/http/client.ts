import type { IncomingMessage } from 'node:http'
import { addAbortSignal } from 'node:stream'
import { discard, type HttpCall, HttpCaller, textOf } from '../http-call.ts'
import type { StreamedBody } from '../streamed-body.ts'
import type { HttpConfig } from './config.ts'
import { HttpFailure } from './errors.ts'
import type { HttpLocation } from './location.ts'

/** Servers close idle connections after 5 s (uvicorn, Node) without saying so; a shorter time spares most lost requests. */
const IDLE_TIMEOUT_MS = 4_000
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

/** Requests to other tracking servers. Redirects are not followed: they could lead anywhere. */
export class HttpClient implements Disposable {
  readonly #caller: HttpCaller

  constructor({ timeoutMs, proxies, verifyTls, serverCertificates, clientCertificate }: HttpConfig) {
    const tls = { rejectUnauthorized: verifyTls, ca: serverCertificates, cert: clientCertificate, key: clientCertificate }
    this.#caller = new HttpCaller({ timeoutMs, proxies, tls, idleMs: IDLE_TIMEOUT_MS })
  }

  /** Longest silence of a server. */
  get timeoutMs(): number {
    return this.#caller.timeoutMs
  }

  /** The response, when it is a success. */
  async send({ protocol, hostname, port, authorization }: HttpLocation, call: Call, content?: HttpCall['body']): Promise<IncomingMessage> {
    const { method, path, json, signal } = call
    const host = hostname.includes(':') ? `[${hostname}]` : hostname
    const headers = {
      'Accept-Encoding': 'identity',
      ...(authorization ? { Authorization: authorization } : {}),
      ...(json === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...call.headers,
    }
    const body = json === undefined ? content : Buffer.from(JSON.stringify(json))
    const url = `${protocol}//${host}${port === undefined ? '' : `:${port}`}${path}`
    const response = await this.#caller.send({ method, url, headers, body, signal })
    const status = response.statusCode ?? 500
    if (status >= 200 && status < 300) return response
    throw failureOf(status, await textOf(response, ERROR_BYTES_MAX).catch(() => ''))
  }

  /** The response's JSON; undefined when it has no body. */
  async json(location: HttpLocation, call: Call): Promise<unknown> {
    const text = await textOf(await this.send(location, call), JSON_BYTES_MAX)
    return text === '' ? undefined : JSON.parse(text)
  }

  /** Sends a body of any length as it comes. The body stays open when the server fails. */
  async stream(location: HttpLocation, call: Call, body: StreamedBody): Promise<void> {
    if (call.signal) addAbortSignal(call.signal, body.stream)
    discard(await this.send(location, call, body))
  }

  [Symbol.dispose](): void {
    this.#caller[Symbol.dispose]()
  }
}

function failureOf(status: number, said: string): HttpFailure {
  try {
    const { error_code } = JSON.parse(said)
    return new HttpFailure(status, said, typeof error_code === 'string' ? error_code : undefined)
  } catch {
    return new HttpFailure(status, said)
  }
}
