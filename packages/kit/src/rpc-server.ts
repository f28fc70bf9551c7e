import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextValues,
  createContextKey,
  createContextValues,
  type Interceptor,
} from '@connectrpc/connect'
import type { UniversalHandler, UniversalServerRequest, UniversalServerResponse } from '@connectrpc/connect/protocol'
import { createAsyncIterable } from '@connectrpc/connect/protocol'
import { invalidParameter, type MlflowError, resourceExhausted } from './errors.ts'

/** How far a call over the network has come. */
interface Call {
  reached: boolean
  /** What it is answered with in any case. */
  readonly refusal?: MlflowError
}

const callKey = createContextKey<Call | undefined>(undefined)

/** Notes that a message could be read, and answers calls that are refused. It has to be the first interceptor. */
export const reachedHandler: Interceptor = next => request => {
  const call = request.contextValues.get(callKey)
  if (call?.refusal) throw call.refusal
  if (!call) return next(request)
  call.reached = true
  // The messages of a stream are read later, by whoever takes them.
  return next(request.stream ? { ...request, message: refusingMessages(request.message, request.signal) } : request)
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
    const call: Call = { reached: false }
    const contextValues = (request.contextValues ?? createContextValues()).set(callKey, call)
    let examined: UniversalServerRequest
    try {
      examined = await examine({ ...request, contextValues }, handler)
    } catch (reason) {
      if (!(reason instanceof ConnectError)) throw reason
      return refuse(request, reason as MlflowError)
    }
    const response = await handler(examined)
    if (call.reached || response.body === undefined) return response
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
  const contextValues: ContextValues = createContextValues().set(callKey, { reached: false, refusal })
  return { ...request, url: url.toString(), header, contextValues, body: createAsyncIterable([isEnveloped ? envelope(message) : message]) }
}
