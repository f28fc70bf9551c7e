import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { isTaken, type StreamedBody } from '../streamed-body.ts'
import { type AzureAccount, hmac } from './account.ts'
import { type Connection, textOfAnswer } from './connection.ts'
import { AzureFailure, isPassing } from './errors.ts'

/** The newest that every sovereign cloud serves; also of the SAS tokens. */
export const API_VERSION = '2021-12-02'

const ATTEMPTS_MAX = 3
const RETRY_DELAY_MS = 200
const RETRY_DELAY_MS_MAX = 5_000

export interface BlobCall {
  method: 'GET' | 'HEAD' | 'PUT' | 'DELETE' | 'POST'
  /** `container/blob`, not encoded; "" is the account. */
  path: string
  query?: Record<string, string | undefined>
  headers?: Record<string, string | undefined>
  body?: Buffer | StreamedBody
  signal?: AbortSignal
}

/** The REST API of Azure's Blob service for one account. */
export class BlobClient {
  readonly account: AzureAccount
  readonly #connection: Connection

  constructor(account: AzureAccount, connection: Connection) {
    this.account = account
    this.#connection = connection
  }

  /**
   * An answer of 2xx, to be read or destroyed. What failed in passing is sent again, but not once something of a streamed body was taken.
   * @throws AzureFailure for other answers; otherwise as Connection.
   */
  async send(call: BlobCall): Promise<IncomingMessage> {
    const { credential } = this.account
    const tokens = credential.kind === 'token' ? credential.source : undefined
    let renewed = false
    for (let attempt = 1; ; attempt++) {
      let token: string | undefined
      try {
        token = await tokens?.token(call.signal)
        return await this.#attempt(call, token)
      } catch (error) {
        const refused = isTokenRefusal(error) ? token : undefined
        // Also when this call can't be sent again: the next one has another token.
        if (refused !== undefined) tokens?.forget(refused)
        if (isSpent(call) || call.signal?.aborted) throw error
        if (refused !== undefined && !renewed) {
          renewed = true
          continue
        }
        if (!isPassing(error) || attempt >= ATTEMPTS_MAX) throw error
        await sleep(Math.min(RETRY_DELAY_MS * 4 ** (attempt - 1), RETRY_DELAY_MS_MAX) * (0.5 + Math.random()), undefined, {
          signal: call.signal,
        })
      }
    }
  }

  /** Longest silence of the store. */
  get timeoutMs(): number {
    return this.#connection.timeoutMs
  }

  /** The answer's body as text. */
  async text(call: BlobCall): Promise<string> {
    return textOfAnswer(await this.send(call))
  }

  /** For calls whose answer is in its headers. */
  async headers(call: BlobCall): Promise<IncomingMessage['headers']> {
    const answer = await this.send(call)
    await textOfAnswer(answer)
    return answer.headers
  }

  async #attempt({ method, path, query = {}, headers = {}, body, signal }: BlobCall, token?: string): Promise<IncomingMessage> {
    const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]))
    const all: Record<string, string> = { 'x-ms-version': API_VERSION, 'x-ms-date': new Date().toUTCString() }
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) all[name] = value
    if (method === 'PUT' || method === 'POST') all['content-length'] = String(body?.length ?? 0)
    if (isStreamed(body)) all.expect = '100-continue'
    const written = given.map(([name, value]) => `${name}=${encode(value)}`)
    const { credential, endpoint } = this.account
    if (credential.kind === 'sas') written.push(credential.query)
    const target = blobUrl(endpoint, path)
    if (token !== undefined) all.authorization = `Bearer ${token}`
    if (credential.kind === 'key') {
      const text = stringToSign(method, all, `/${this.account.name}${pathOf(target)}`, given)
      all.authorization = `SharedKey ${this.account.name}:${hmac(credential.key, text)}`
    }
    const url = written.length > 0 ? `${target}?${written.join('&')}` : target
    const answer = await this.#connection.send({ method, url, headers: all, body, signal })
    const { statusCode = 0 } = answer
    if (statusCode >= 200 && statusCode < 300) return answer
    throw await failureOf(answer, body)
  }
}

const isStreamed = (body: BlobCall['body']): body is StreamedBody => body !== undefined && !Buffer.isBuffer(body)

const isSpent = ({ body }: BlobCall) => isStreamed(body) && isTaken(body)

/** A token may end before its time is over. */
const isTokenRefusal = (error: unknown) => error instanceof AzureFailure && (error.status === 401 || error.code === 'AuthenticationFailed')

async function failureOf(answer: IncomingMessage, body: BlobCall['body']): Promise<AzureFailure> {
  const { statusCode = 0, headers } = answer
  // A streamed body goes no further, and its sender has to be told before it has sent everything.
  if (isStreamed(body)) {
    answer.once('error', () => undefined)
    answer.destroy()
  } else await textOfAnswer(answer).catch(() => '')
  const code = headers['x-ms-error-code']
  return new AzureFailure(statusCode, typeof code === 'string' ? code : '')
}

/** Source: "Authorize with Shared Key" of Azure's storage services. */
function stringToSign(
  method: string,
  headers: Readonly<Record<string, string>>,
  resource: string,
  query: readonly (readonly [string, string])[],
): string {
  const header = (name: string) => headers[name] ?? ''
  const length = header('content-length')
  const own = Object.keys(headers).filter(name => name.startsWith('x-ms-'))
  return [
    method,
    header('content-encoding'),
    header('content-language'),
    length === '0' ? '' : length,
    header('content-md5'),
    header('content-type'),
    header('date'),
    header('if-modified-since'),
    header('if-match'),
    header('if-none-match'),
    header('if-unmodified-since'),
    header('range'),
    ...own.sort().map(name => `${name}:${headers[name]}`),
    resource,
    ...query.map(([name, value]) => `${name}:${value}`).sort(),
  ].join('\n')
}

/** @param path `container/blob`, not encoded. */
export function blobUrl(endpoint: string, path: string): string {
  return `${endpoint}/${path.split('/').map(encode).join('/')}`
}

const pathOf = (url: string) => url.replace(/^https?:\/\/[^/]*/, '')

/** All but RFC 3986's unreserved characters. */
export function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, character => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
}
