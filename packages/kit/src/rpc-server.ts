import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextValues,
  createContextKey,
  createContextValues,
  type Interceptor,
  type StreamRequest,
  type UnaryRequest,
} from '@connectrpc/connect'
import type { UniversalHandler, UniversalServerRequest, UniversalServerResponse } from '@connectrpc/connect/protocol'
import { createAsyncIterable } from '@connectrpc/connect/protocol'
import { parseTimeout as parseConnectTimeout } from '@connectrpc/connect/protocol-connect'
import { parseTimeout as parseGrpcTimeout } from '@connectrpc/connect/protocol-grpc'
import {
  ANONYMOUS,
  callKey,
  checkRequestId,
  endOf,
  PRINCIPAL_HEADER,
  REQUEST_ID_HEADER,
  SignalledCall,
  untilEnded,
} from './call-context.ts'
import { invalidParameter, type MlflowError, resourceExhausted } from './errors.ts'
import { failingWith } from './rpc.ts'

/** How far a call over the network has come. */
interface Arrival {
  reached: boolean
  /** What it is answered with in any case. */
  readonly refusal?: MlflowError
}

const arrivalKey = createContextKey<Arrival | undefined>(undefined)

/** Notes that a message could be read, and answers calls that are refused. It has to be the first interceptor. */
export const reachedHandler: Interceptor = next => request => {
  const arrival = request.contextValues.get(arrivalKey)
  if (arrival?.refusal) throw arrival.refusal
  if (!arrival) return next(request)
  arrival.reached = true
  // The messages of a stream are read later, by whoever takes them.
  return next(request.stream ? { ...request, message: refusingMessages(request.message, request.signal) } : request)
}

/** Puts the context of a call where its handler finds it. */
export const receiveCall: Interceptor = next => request => {
  const { header, signal, contextValues } = request
  const requestId = checkRequestId(header.get(REQUEST_ID_HEADER))
  const principal = { name: header.get(PRINCIPAL_HEADER) ?? ANONYMOUS.name }
  contextValues.set(callKey, new SignalledCall(signal, { requestId, principal, deadline: deadlineOf(header) }))
  return next(request)
}

/** Has a call answered when its deadline has passed, whatever its handler still does. The messages of a stream end with its handler. */
export const endAtDeadline: Interceptor = next => request => {
  const call = request.contextValues.get(callKey)
  return call?.deadline === undefined || request.stream ? next(request) : untilEnded(call, next(request))
}

/** Of a header that the library has read before. */
function deadlineOf(header: Headers): number | undefined {
  const connect = header.get('connect-timeout-ms')
  const grpc = header.get('grpc-timeout')
  const { timeoutMs } = grpc === null ? parseConnectTimeout(connect, UNLIMITED) : parseGrpcTimeout(grpc, UNLIMITED)
  return timeoutMs === undefined ? undefined : Date.now() + Math.floor(timeoutMs)
}

const UNLIMITED = Number.MAX_SAFE_INTEGER

/**
 * Passes what handlers throw, at once or within a stream, through `toError`. Calls that have ended fail for that, whatever they were
 * interrupted in.
 */
export const translateFailures =
  (toError: (reason: unknown, request: UnaryRequest | StreamRequest) => unknown): Interceptor =>
  next =>
  async request => {
    const translated = (reason: unknown) => (request.signal.aborted ? endOf(request) : toError(reason, request))
    const response = await next(request).catch(reason => {
      throw translated(reason)
    })
    return response.stream ? { ...response, message: failingWith(response.message, translated) } : response
  }

async function* refusingMessages<T>(messages: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  try {
    yield* messages
  } catch (reason) {
    if (signal.aborted) throw reason
    throw refusal(String(reason instanceof ConnectError ? reason.code : ''), reason)
  }
}

/** Looks at a request before its message is parsed, and may give another one in its place. @throws MlflowError to refuse it. */
export type Examine = (request: UniversalServerRequest, handler: UniversalHandler) => Promise<UniversalServerRequest>

/**
 * Has a router answer requests that can't be read with `invalid_argument` and words of ours: by itself it would say `internal`, and quote its
 * library. Needs the interceptor `reachedHandler`.
 */
export function refusePlainly(router: ConnectRouter, examine: Examine = async request => request): void {
  for (const [i, handler] of router.handlers.entries()) router.handlers[i] = plainly(handler, examine)
}

function plainly(handler: UniversalHandler, examine: Examine): UniversalHandler {
  const refuse = (request: UniversalServerRequest, answer: MlflowError) => handler(emptyRequest(request, answer))
  const answer = async (request: UniversalServerRequest): Promise<UniversalServerResponse> => {
    const arrival: Arrival = { reached: false }
    const contextValues = (request.contextValues ?? createContextValues()).set(arrivalKey, arrival)
    let examined: UniversalServerRequest
    try {
      examined = await examine({ ...request, contextValues }, handler)
    } catch (reason) {
      if (!(reason instanceof ConnectError)) throw reason
      return refuse(request, reason as MlflowError)
    }
    const response = await handler(examined)
    if (arrival.reached || response.body === undefined) return response
    return refuse(request, await refusalOf(response))
  }
  const { service, method, requestPath, supportedContentType, protocolNames, allowedMethods } = handler
  return Object.assign(answer, { service, method, requestPath, supportedContentType, protocolNames, allowedMethods })
}

/** The code of an error by its name (Connect) or number (gRPC, gRPC-Web). */
const TOO_LARGE = new Set(['resource_exhausted', String(Code.ResourceExhausted)])

async function refusalOf({ body, trailer }: UniversalServerResponse): Promise<MlflowError> {
  let text = ''
  for await (const chunk of body ?? []) text += Buffer.from(chunk).toString('latin1')
  const code = trailer?.get('grpc-status') ?? /(?:grpc-status: *|"code": *")(\w+)/i.exec(text)?.[1] ?? ''
  return refusal(code)
}

function refusal(code: string, cause?: unknown): MlflowError {
  if (TOO_LARGE.has(code)) return resourceExhausted('The message of the request is too large.', { cause })
  return invalidParameter('The request could not be read: its message or one of its protocol headers is malformed.', { cause })
}

const ENVELOPED = /^application\/(?:grpc|connect\+)/i
const JSON_FORMAT = /json/i

/** How the message of a request is packed. */
export function packingOf({ header }: UniversalServerRequest): { isEnveloped: boolean; isJson: boolean } {
  const type = header.get('content-type') ?? ''
  return { isEnveloped: ENVELOPED.test(type), isJson: JSON_FORMAT.test(type) }
}

/** The message with the five bytes that stand before it in gRPC, gRPC-Web and streams of Connect. */
export function envelope(message: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(5 + message.length)
  bytes.writeUInt32BE(message.length, 1)
  bytes.set(message, 5)
  return bytes
}

/** A request of the same protocol that can be read, so that the library writes the refusal. */
function emptyRequest(request: UniversalServerRequest, refusal: MlflowError): UniversalServerRequest {
  const { isEnveloped, isJson } = packingOf(request)
  const message = Buffer.from(isJson ? '{}' : '')
  const header = new Headers()
  const type = request.header.get('content-type')
  if (type !== null) header.set('content-type', type)
  const url = new URL(request.url)
  if (url.search !== '') url.search = '?connect=v1&encoding=proto&message='
  const contextValues: ContextValues = createContextValues().set(arrivalKey, { reached: false, refusal })
  return { ...request, url: url.toString(), header, contextValues, body: createAsyncIterable([isEnveloped ? envelope(message) : message]) }
}
