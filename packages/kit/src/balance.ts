import type { DescMessage, DescMethod, DescMethodStreaming, DescMethodUnary, MessageInitShape } from '@bufbuild/protobuf'
import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, type ContextValues, type StreamResponse, type Transport, type UnaryResponse } from '@connectrpc/connect'
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node'
import { ErrorDetailSchema } from '@millrace/proto/millrace/errors/v1/errors_pb'

const CALL_TIMEOUT_MS = 120_000
const PING_INTERVAL_MS = 55_000
const PING_TIMEOUT_MS = 10_000
const MESSAGE_BYTES_MAX = 256 * 1024 * 1024
/** A replica that refused a connection is passed over for this long, unless all of them did. */
const AVOID_MS = 2_000
/** Failures before anything was sent. */
const NOT_SENT = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ERR_HTTP2_GOAWAY_SESSION'])
/** Failures that leave open whether the call arrived. */
const CUT = new Set(['ECONNRESET', 'EPIPE', 'ERR_HTTP2_STREAM_ERROR', 'ERR_HTTP2_SESSION_ERROR', 'ERR_HTTP2_STREAM_CANCEL'])
/** What connect-node makes of a session that ended under a call; a service's own errors carry a detail. */
const GONE = new Set([Code.Unavailable, Code.Aborted, Code.Canceled])

type HeadersLike = ConstructorParameters<typeof Headers>[0]

/** The replicas of one service. Calls take turns among those that answer; one that cannot be reached costs no call. */
export interface Upstream extends Disposable {
  readonly transport: Transport
  /** The URL whose turn it is. */
  pick(): string
  /** Passes a URL over for a while because it could not be reached. */
  avoid(url: string): void
  /** @throws when no replica says that it is ready. */
  ready(): Promise<void>
}

interface Replica {
  readonly url: string
  readonly sessions: Http2SessionManager
  readonly transport: Transport
  avoidUntil: number
}

/**
 * Balances in the client: an HTTP/2 connection stays with one replica, so each replica has its own and every call chooses.
 * A call that never left this process is made again on the next replica. One that may have arrived is made again only when its
 * method has no side effects and its replica went away; the caller's signal and the deadline hold for each attempt.
 */
export function createUpstream(name: string, urls: readonly string[]): Upstream {
  const replicas = urls.map(openReplica)
  let turn = 0
  const inOrder = (): Replica[] => {
    turn = (turn + 1) % replicas.length
    const now = performance.now()
    const order = [...replicas.slice(turn), ...replicas.slice(0, turn)]
    return [...order.filter(one => one.avoidUntil <= now), ...order.filter(one => one.avoidUntil > now)]
  }
  const attempt = async <T>(
    method: DescMethod,
    signal: AbortSignal | undefined,
    call: (transport: Transport) => Promise<T>,
  ): Promise<T> => {
    let last: unknown
    for (const replica of inOrder()) {
      try {
        return await call(replica.transport)
      } catch (reason) {
        if (signal?.aborted || !(wasNotSent(reason) || wentAway(reason))) throw reason
        if (!wasNotSent(reason) && !isRead(method))
          throw new ConnectError(`The ${name} service went away`, Code.Unavailable, undefined, undefined, reason)
        replica.avoidUntil = performance.now() + AVOID_MS
        last = reason
      }
    }
    throw new ConnectError(`The ${name} service cannot be reached`, Code.Unavailable, undefined, undefined, last)
  }
  return {
    transport: {
      unary<I extends DescMessage, O extends DescMessage>(
        method: DescMethodUnary<I, O>,
        signal: AbortSignal | undefined,
        timeoutMs: number | undefined,
        header: HeadersLike | undefined,
        input: MessageInitShape<I>,
        values?: ContextValues,
      ): Promise<UnaryResponse<I, O>> {
        return attempt(method, signal, transport => transport.unary(method, signal, timeoutMs, header, input, values))
      },
      stream<I extends DescMessage, O extends DescMessage>(
        method: DescMethodStreaming<I, O>,
        signal: AbortSignal | undefined,
        timeoutMs: number | undefined,
        header: HeadersLike | undefined,
        input: AsyncIterable<MessageInitShape<I>>,
        values?: ContextValues,
      ): Promise<StreamResponse<I, O>> {
        const [first] = inOrder()
        if (!first) throw new ConnectError(`The ${name} service has no address`, Code.Unavailable)
        return first.transport.stream(method, signal, timeoutMs, header, input, values)
      },
    },
    pick: () => inOrder()[0]?.url ?? '',
    avoid(url) {
      for (const replica of replicas) if (replica.url === url) replica.avoidUntil = performance.now() + AVOID_MS
    },
    async ready() {
      await Promise.any(replicas.map(isReady)).catch(reason => {
        throw new Error(`no replica of ${name} is ready`, { cause: reason })
      })
    },
    [Symbol.dispose]() {
      for (const { sessions } of replicas) sessions.abort()
    },
  }
}

function openReplica(url: string): Replica {
  const sessions = new Http2SessionManager(url, {
    pingIntervalMs: PING_INTERVAL_MS,
    pingIdleConnection: true,
    pingTimeoutMs: PING_TIMEOUT_MS,
  })
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: '2',
    sessionManager: sessions,
    defaultTimeoutMs: CALL_TIMEOUT_MS,
    acceptCompression: [],
    readMaxBytes: MESSAGE_BYTES_MAX,
    writeMaxBytes: MESSAGE_BYTES_MAX,
    useBinaryFormat: true,
  })
  return { url, sessions, transport, avoidUntil: 0 }
}

const READY_TIMEOUT_MS = 3_000

async function isReady({ url }: Replica): Promise<void> {
  const answer = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(READY_TIMEOUT_MS) })
  await answer.body?.cancel()
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}`)
}

const isRead = (method: DescMethod) => method.idempotency === Idempotency.NO_SIDE_EFFECTS

/** The connection broke: an error without a word from the other side. */
function wentAway(reason: unknown): boolean {
  if (!(reason instanceof ConnectError) || reason.findDetails(ErrorDetailSchema).length > 0) return false
  return GONE.has(reason.code) || CUT.has(codeOf(reason.cause))
}

const codeOf = (reason: unknown) => (reason instanceof Error ? String(Reflect.get(reason, 'code')) : '')

function wasNotSent(reason: unknown): boolean {
  for (let cause = reason; cause instanceof Error; cause = cause.cause) {
    if (NOT_SENT.has(codeOf(cause))) return true
  }
  return false
}
