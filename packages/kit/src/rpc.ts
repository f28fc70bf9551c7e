import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  type DescService,
  isMessage,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextValues,
  createContextValues,
  type HandlerContext,
  type ServiceImpl,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from '@connectrpc/connect'
import { callKey } from './call-context.ts'

/** One service with its handlers: what a service's routes.ts lists. */
export interface Route {
  readonly service: DescService
  readonly implementation: Record<string, unknown>
}

export function route<S extends DescService>(service: S, implementation: ServiceImpl<S>): Route {
  return { service, implementation: implementation as Record<string, unknown> }
}

/** Puts routes on a Connect router, for calls that come over a network. */
export function register(router: ConnectRouter, routes: readonly Route[]): void {
  for (const r of routes) router.service(r.service, r.implementation as Partial<ServiceImpl<DescService>>)
}

type HeadersLike = ConstructorParameters<typeof Headers>[0]
type Handler = (input: unknown, context: HandlerContext) => unknown

/**
 * A Connect transport that calls handlers of this process: no encoding, no copy. Messages are handed over by reference,
 * so a handler must not change its request and a caller must not change the answer. Errors pass through as thrown.
 */
export function createDirectTransport(routes: readonly Route[]): Transport {
  const handlers = new Map<DescMethod, Handler>()
  for (const { service, implementation } of routes) {
    for (const method of service.methods) {
      const fn = implementation[method.localName]
      if (typeof fn === 'function') handlers.set(method, fn.bind(implementation) as Handler)
    }
  }
  const find = (method: DescMethod) => {
    const handler = handlers.get(method)
    if (!handler) throw new ConnectError(`${method.parent.typeName}/${method.name} is not served here`, Code.Unimplemented)
    return handler
  }
  return {
    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersLike | undefined,
      input: MessageInitShape<I>,
      values?: ContextValues,
    ): Promise<UnaryResponse<I, O>> {
      const context = new DirectContext(method, signal, timeoutMs, header, values)
      const message = asMessage(method.output, await find(method)(asMessage(method.input, input), context))
      return { stream: false, service: method.parent, method, header: context.responseHeader, message, trailer: context.responseTrailer }
    },
    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersLike | undefined,
      input: AsyncIterable<MessageInitShape<I>>,
      values?: ContextValues,
    ): Promise<StreamResponse<I, O>> {
      const context = new DirectContext(method, signal, timeoutMs, header, values)
      const request =
        method.methodKind === 'server_streaming' ? asMessage(method.input, await first(input)) : mapMessages(method.input, input)
      const answer = find(method)(request, context)
      const message =
        method.methodKind === 'client_streaming'
          ? (async function* () {
              yield asMessage(method.output, await answer)
            })()
          : mapMessages(method.output, answer as AsyncIterable<MessageInitShape<O>>)
      return { stream: true, service: method.parent, method, header: context.responseHeader, message, trailer: context.responseTrailer }
    },
  }
}

/** Routes that hand every call of `service` on to another transport: how the gateway offers a service that lives elsewhere. */
export function forward(service: DescService, transport: Transport): Route {
  const implementation: Record<string, unknown> = {}
  for (const method of service.methods) {
    const timeout = (c: HandlerContext) => c.timeoutMs()
    if (method.methodKind === 'unary') {
      implementation[method.localName] = async (input: never, c: HandlerContext) =>
        (await transport.unary(method as DescMethodUnary, c.signal, timeout(c), undefined, input, c.values)).message
    } else if (method.methodKind === 'server_streaming') {
      implementation[method.localName] = async function* (input: never, c: HandlerContext) {
        const one = (async function* () {
          yield input
        })()
        yield* (await transport.stream(method as DescMethodStreaming, c.signal, timeout(c), undefined, one, c.values)).message
      }
    } else {
      implementation[method.localName] = async function* (input: AsyncIterable<never>, c: HandlerContext) {
        yield* (await transport.stream(method as DescMethodStreaming, c.signal, timeout(c), undefined, input, c.values)).message
      }
    }
  }
  return { service, implementation }
}

function asMessage<T extends DescMessage>(schema: T, value: unknown): MessageShape<T> {
  return isMessage(value, schema) ? value : create(schema, value as MessageInitShape<T>)
}

async function* mapMessages<T extends DescMessage>(schema: T, values: AsyncIterable<unknown>): AsyncIterable<MessageShape<T>> {
  for await (const value of values) yield asMessage(schema, value)
}

/** The same messages; what ends them early goes through `toError`. */
export async function* failingWith<T>(messages: AsyncIterable<T>, toError: (reason: unknown) => unknown): AsyncIterable<T> {
  try {
    yield* messages
  } catch (reason) {
    throw toError(reason)
  }
}

async function first<T>(values: AsyncIterable<T>): Promise<T> {
  for await (const value of values) return value
  throw new ConnectError('the request stream is empty', Code.InvalidArgument)
}

const NEVER = new AbortController().signal

/** The context of a direct call; signal, headers and values are made only when somebody looks. */
class DirectContext implements HandlerContext {
  readonly service: DescService
  readonly method: DescMethod
  readonly protocolName = 'direct'
  readonly requestMethod = 'POST'
  readonly #signal: AbortSignal | undefined
  readonly #timeoutMs: number | undefined
  readonly #header: HeadersLike | undefined
  #values: ContextValues | undefined
  #requestHeader: Headers | undefined
  #responseHeader: Headers | undefined
  #responseTrailer: Headers | undefined

  constructor(method: DescMethod, signal?: AbortSignal, timeoutMs?: number, header?: HeadersLike, values?: ContextValues) {
    this.service = method.parent
    this.method = method
    this.#signal = signal
    this.#timeoutMs = timeoutMs
    this.#header = header
    this.#values = values
  }
  get url() {
    return `direct:/${this.service.typeName}/${this.method.name}`
  }
  get signal() {
    return this.#signal ?? this.#values?.get(callKey)?.signal ?? NEVER
  }
  timeoutMs() {
    const deadline = this.#values?.get(callKey)?.deadline
    return deadline === undefined ? this.#timeoutMs : deadline - Date.now()
  }
  get values() {
    this.#values ??= createContextValues()
    return this.#values
  }
  get requestHeader() {
    this.#requestHeader ??= new Headers(this.#header)
    return this.#requestHeader
  }
  get responseHeader() {
    this.#responseHeader ??= new Headers()
    return this.#responseHeader
  }
  get responseTrailer() {
    this.#responseTrailer ??= new Headers()
    return this.#responseTrailer
  }
}
