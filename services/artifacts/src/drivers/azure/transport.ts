import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { toHttpHeadersLike } from '@azure/core-http-compat'
import { createHttpHeaders, type HttpClient } from '@azure/core-rest-pipeline'
import type { IHttpClient } from '@azure/storage-blob'
import { discard, type HttpCall, type HttpCaller, textOf } from '../http-call.ts'
import { isSpent, retryAfterMs, retrying } from '../retrying.ts'
import { isTransportTransient } from '../transport-errors.ts'
import { isTransientStatus } from './errors.ts'
import type { TokenSource } from './tokens.ts'

/*
 * Azure's packages make, sign and read calls; this sends them as those of every other store are sent. Retries are here and not in the
 * packages, which would send a streamed body again of which a part is gone. Of 128 MiB the SDK takes 5 % more of the processor than calls
 * of our own to write and as much to read; a small call takes 4 ms for 2 ms.
 */

const ATTEMPTS_MAX = 3
/** A page of 5,000 blobs with 8 KiB of metadata each. */
const TEXT_BYTES_MAX = 64 * 1024 * 1024

interface AzureCall extends HttpCall {
  headers: Record<string, string>
  /** Of responses whose body isn't read whole. */
  streamedStatuses?: Set<number>
}

interface AzureResponse {
  status: number
  headers: Record<string, string>
  bodyAsText?: string
  readableStreamBody?: IncomingMessage
}

/** For storage accounts. @param tokens of an account without a key or a SAS token. */
export function storageHttp(caller: HttpCaller, tokens?: TokenSource): IHttpClient {
  return {
    async sendRequest(request) {
      const { method, url, body, abortSignal, streamResponseStatusCodes: streamedStatuses } = request
      const headers = request.headers.toJson()
      const call = { method, url, headers, body: bodyOf(body, headers), streamedStatuses, signal: abortSignal as AbortSignal | undefined }
      const response = await sendRetrying(caller, call, tokens)
      return { ...response, request, headers: toHttpHeadersLike(createHttpHeaders(response.headers)) }
    },
  }
}

/** For what gives tokens; its package repeats calls by itself. */
export function identityHttp(caller: HttpCaller): HttpClient {
  return {
    async sendRequest(request) {
      const { method, url, body, abortSignal, timeout } = request
      const headers = request.headers.toJSON()
      const signals = [abortSignal as AbortSignal | undefined, timeout > 0 ? AbortSignal.timeout(timeout) : undefined]
      const signal = AbortSignal.any(signals.filter(one => one !== undefined))
      const response = await send(caller, { method, url, headers, body: bodyOf(body, headers), signal })
      return { ...response, request, headers: createHttpHeaders(response.headers) }
    },
  }
}

/** Asks first whether the store wants a body that passes through. */
function bodyOf(body: unknown, headers: Record<string, string>): HttpCall['body'] {
  if (body instanceof Readable) {
    headers.expect = '100-continue'
    return { stream: body, length: Number(headers['content-length']) }
  }
  if (body === undefined || body === null) return undefined
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(String(body))
  headers['content-length'] = String(bytes.length)
  return bytes
}

/** Says that a call may be repeated, and what it got. */
class TransientResponse extends Error {
  readonly response: AzureResponse
  readonly retryAfterMs: number | undefined

  constructor(response: AzureResponse) {
    super(`the store answered ${response.status}`)
    this.response = response
    this.retryAfterMs = retryAfterMs(response.headers['retry-after'])
  }
}

async function sendRetrying(caller: HttpCaller, call: AzureCall, tokens: TokenSource | undefined): Promise<AzureResponse> {
  const isTransient = (error: unknown) => error instanceof TransientResponse || isTransportTransient(error)
  try {
    return await retrying({ isTransient, attemptsMax: ATTEMPTS_MAX, body: call.body, signal: call.signal }, async () => {
      const response = await (tokens ? sendWithToken(caller, call, tokens) : send(caller, call))
      if (isTransientStatus(response.status)) throw new TransientResponse(response)
      return response
    })
  } catch (error) {
    if (error instanceof TransientResponse) return error.response
    throw error
  }
}

/** A token may end before its time is over; the next one is asked for once. */
async function sendWithToken(caller: HttpCaller, call: AzureCall, tokens: TokenSource): Promise<AzureResponse> {
  for (let isFirst = true; ; isFirst = false) {
    const token = await tokens.token()
    const response = await send(caller, { ...call, headers: { ...call.headers, authorization: `Bearer ${token}` } })
    const isRefused = response.status === 401 || response.headers['x-ms-error-code'] === 'AuthenticationFailed'
    // Also when this call can't be sent again: the next one has another token.
    if (isRefused) tokens.forget(token)
    if (!isRefused || !isFirst || isSpent(call.body) || call.signal?.aborted) return response
  }
}

async function send(caller: HttpCaller, { streamedStatuses, ...call }: AzureCall): Promise<AzureResponse> {
  const response = await caller.send(call)
  const { statusCode: status = 0 } = response
  const headers = Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)]))
  if (streamedStatuses?.has(status)) {
    // Whoever reads a body watches over the store's silence: that of a slow reader is none.
    response.socket.setTimeout(0)
    return { status, headers, readableStreamBody: response }
  }
  if (!(call.body && 'stream' in call.body) || status < 300) return { status, headers, bodyAsText: await textOf(response, TEXT_BYTES_MAX) }
  // A streamed body goes no further, and its sender has to be told before it has sent everything.
  discard(response)
  return { status, headers, bodyAsText: '' }
}
