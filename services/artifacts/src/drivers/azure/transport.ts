import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { toHttpHeadersLike } from '@azure/core-http-compat'
import { createHttpHeaders, type HttpClient } from '@azure/core-rest-pipeline'
import type { IHttpClient } from '@azure/storage-blob'
import { isTaken, type StreamedBody } from '../streamed-body.ts'
import { type Connection, textOfAnswer } from './connection.ts'
import { isTransient, isTransientStatus } from './errors.ts'
import type { TokenSource } from './tokens.ts'

/*
 * Azure's packages make, sign and read calls; this sends them over connections like those of every other store. Retries are here and not
 * in the packages: those would send a streamed body again of which a part is gone.
 */

const ATTEMPTS_MAX = 3
const RETRY_DELAY_MS = 200
const RETRY_DELAY_MS_MAX = 5_000

interface AzureCall {
  method: string
  url: string
  headers: Record<string, string>
  body?: Buffer | StreamedBody
  /** Of responses whose body isn't read whole. */
  streamedStatuses?: Set<number>
  signal?: AbortSignal
}

interface AzureResponse {
  status: number
  headers: Record<string, string>
  bodyAsText?: string
  readableStreamBody?: IncomingMessage
}

/** For storage accounts. @param tokens of an account without a key or a SAS token. */
export function storageHttp(connection: Connection, tokens?: TokenSource): IHttpClient {
  return {
    async sendRequest(request) {
      const { method, url, body, abortSignal, streamResponseStatusCodes: streamedStatuses } = request
      const headers = request.headers.toJson()
      const call = { method, url, headers, body: bodyOf(body, headers), streamedStatuses, signal: abortSignal as AbortSignal | undefined }
      const response = await sendRetrying(connection, call, tokens)
      return { ...response, request, headers: toHttpHeadersLike(createHttpHeaders(response.headers)) }
    },
  }
}

/** For what gives tokens. */
export function identityHttp(connection: Connection): HttpClient {
  return {
    async sendRequest(request) {
      const { method, url, body, abortSignal, timeout } = request
      const headers = request.headers.toJSON()
      const signals = [abortSignal as AbortSignal | undefined, timeout > 0 ? AbortSignal.timeout(timeout) : undefined]
      const signal = AbortSignal.any(signals.filter(one => one !== undefined))
      const response = await send(connection, { method, url, headers, body: bodyOf(body, headers), signal })
      return { ...response, request, headers: createHttpHeaders(response.headers) }
    },
  }
}

/** Asks first whether the store wants a body that passes through. */
function bodyOf(body: unknown, headers: Record<string, string>): AzureCall['body'] {
  if (body instanceof Readable) {
    headers.expect = '100-continue'
    return { stream: body, length: Number(headers['content-length']) }
  }
  if (body === undefined || body === null) return undefined
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(String(body))
  headers['content-length'] = String(bytes.length)
  return bytes
}

async function sendRetrying(connection: Connection, call: AzureCall, tokens: TokenSource | undefined): Promise<AzureResponse> {
  let renewed = false
  for (let attempt = 1; ; attempt++) {
    const token = await tokens?.token()
    const headers = token === undefined ? call.headers : { ...call.headers, authorization: `Bearer ${token}` }
    const outcome = await send(connection, { ...call, headers }).catch((error: unknown) => ({ error }))
    const isRefused = token !== undefined && 'status' in outcome && refusesToken(outcome)
    // Also when this call can't be sent again: the next one has another token.
    if (isRefused) tokens?.forget(token)
    const isFinal = call.signal?.aborted || isSpent(call)
    if (isRefused && !renewed && !isFinal) {
      renewed = true
      continue
    }
    const mayPass = 'status' in outcome ? isTransientStatus(outcome.status) : isTransient(outcome.error)
    if (!mayPass || isFinal || attempt >= ATTEMPTS_MAX) {
      if ('status' in outcome) return outcome
      throw outcome.error
    }
    const delayMs = Math.min(RETRY_DELAY_MS * 4 ** (attempt - 1), RETRY_DELAY_MS_MAX)
    await sleep(delayMs * (0.5 + Math.random()), undefined, { signal: call.signal })
  }
}

async function send(connection: Connection, { streamedStatuses, ...call }: AzureCall): Promise<AzureResponse> {
  const answer = await connection.send(call)
  const { statusCode: status = 0 } = answer
  const headers = Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)]))
  // Whoever reads a body watches over the store's silence: that of a slow reader is none.
  if (streamedStatuses?.has(status)) return { status, headers, readableStreamBody: withoutLimit(answer) }
  if (!isStreamed(call.body) || status < 300) return { status, headers, bodyAsText: await textOfAnswer(answer) }
  // A streamed body goes no further, and its sender has to be told before it has sent everything.
  answer.once('error', () => undefined)
  answer.destroy()
  return { status, headers, bodyAsText: '' }
}

const isStreamed = (body: AzureCall['body']): body is StreamedBody => body !== undefined && !Buffer.isBuffer(body)

const isSpent = ({ body }: AzureCall) => isStreamed(body) && isTaken(body)

/** A token may end before its time is over. */
const refusesToken = ({ status, headers }: AzureResponse) => status === 401 || headers['x-ms-error-code'] === 'AuthenticationFailed'

function withoutLimit(answer: IncomingMessage): IncomingMessage {
  answer.socket.setTimeout(0)
  return answer
}
