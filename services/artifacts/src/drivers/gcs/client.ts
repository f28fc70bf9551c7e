import type { IncomingMessage } from 'node:http'
import { ApiError } from '@google-cloud/storage'
import { type HttpCall, HttpCaller, textOf } from '../http-call.ts'
import { isSpent, retrying } from '../retrying.ts'
import type { GcsConfig } from './config.ts'
import { Credentials } from './credentials.ts'
import { isRefusedToken, isTransient } from './errors.ts'

/** Of a response that is read whole: a page of 1,000 names of 1,024 bytes, escaped, fits. */
const RESPONSE_BYTES_MAX = 16 * 1024 * 1024

export interface GcsRequest extends HttpCall {
  headers?: Record<string, string>
  query?: Record<string, string | number | boolean | undefined>
  /** A status outside 2xx that the caller expects. */
  expected?: number
}

export interface GcsResponse {
  status: number
  headers: Record<string, string>
  text: string
}

/**
 * Requests of Cloud Storage with the server's credentials. Every request may be sent again: each either changes nothing or says the
 * same the second time, and is sent again up to three times when the store is busy or the connection is lost, and with a new token
 * when the store refuses the one that it had. But not once something of a streamed body was taken.
 */
export class GcsClient implements Disposable {
  readonly credentials: Credentials
  readonly #caller: HttpCaller

  private constructor(caller: HttpCaller, credentials: Credentials) {
    this.#caller = caller
    this.credentials = credentials
  }

  static async connect({ caBundle, ...config }: GcsConfig): Promise<GcsClient> {
    const caller = new HttpCaller({ ...config, tls: { ca: caBundle } })
    try {
      return new GcsClient(caller, await Credentials.open(config, caller))
    } catch (error) {
      caller[Symbol.dispose]()
      throw error
    }
  }

  /** @throws the SDK's ApiError for a response outside 2xx that the caller didn't expect. */
  send(request: GcsRequest): Promise<GcsResponse> {
    return retrying({ ...request, isTransient }, async () => {
      const response = await this.#once(request)
      const headers = Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)]))
      return { status: response.statusCode ?? 0, headers, text: await textOf(response, RESPONSE_BYTES_MAX) }
    })
  }

  /** The response as soon as its headers are there. Whoever reads the body watches over its silence. */
  async open(request: GcsRequest): Promise<IncomingMessage> {
    const response = await retrying({ ...request, isTransient }, () => this.#once(request))
    response.socket.setTimeout(0)
    return response
  }

  [Symbol.dispose](): void {
    this.#caller[Symbol.dispose]()
  }

  async #once(request: GcsRequest): Promise<IncomingMessage> {
    request.signal?.throwIfAborted()
    const { url } = request
    const credentials = await this.credentials.headers(url)
    try {
      return await this.#exchange(request, credentials)
    } catch (error) {
      if (!isRefusedToken(error) || !(await this.credentials.renew(url, credentials)) || isSpent(request.body)) throw error
      return this.#exchange(request, await this.credentials.headers(url))
    }
  }

  async #exchange({ query = {}, expected, ...call }: GcsRequest, credentials: Record<string, string>): Promise<IncomingMessage> {
    const parameters = new URLSearchParams()
    for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value))
    const url = parameters.size > 0 ? `${call.url}?${parameters}` : call.url
    const asking = call.body && 'stream' in call.body ? { Expect: '100-continue' } : {}
    const response = await this.#caller.send({ ...call, url, headers: { ...call.headers, ...credentials, ...asking } })
    const status = response.statusCode ?? 0
    if ((status >= 200 && status < 300) || status === expected) return response
    throw refusal(status, await textOf(response, RESPONSE_BYTES_MAX))
  }
}

/** Only the status and the JSON API's reason; its message quotes accounts. The upload and XML endpoints give no reason. */
function refusal(code: number, text: string): ApiError {
  const [, reason = ''] = /"reason":\s*"([\w .-]{1,60})"/.exec(text) ?? []
  const message = `the store responded with ${code}${reason && ` (${reason})`}`
  return Object.assign(new ApiError(message), { code, errors: reason ? [{ message, reason, domain: '', location: '' }] : [] })
}
