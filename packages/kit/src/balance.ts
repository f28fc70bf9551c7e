import { setTimeout as pause } from 'node:timers/promises'
import type { DescMessage, DescMethod, DescMethodStreaming, DescMethodUnary, MessageInitShape } from '@bufbuild/protobuf'
import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, type ContextValues, type StreamResponse, type Transport, type UnaryResponse } from '@connectrpc/connect'
import { callKey, identityHeaders } from './call-context.ts'
import type { Logger } from './logger.ts'
import { Replica } from './replica.ts'
import { isWorthWaiting, SilentReplica, wasNotSent, wentAway } from './replica-failures.ts'
import { failingWith } from './rpc.ts'

const RETRY_PAUSE_MS = 100
const READY_TIMEOUT_MS = 2_500
/** Once one replica is ready the others have this long: probes of the caller are quick. */
const READY_GRACE_MS = 500

type HeadersLike = ConstructorParameters<typeof Headers>[0]

/** How many replicas of a part can serve. */
export interface ReplicaCounts {
  readonly ready: number
  readonly total: number
}

/** The replicas of one service. Calls take turns among those that answer; one that cannot be reached costs no call. */
export interface Upstream extends Disposable {
  readonly transport: Transport
  /** The URL whose turn it is. */
  pick(): string
  /** Passes a URL over for a while because it could not be reached. */
  avoid(url: string): void
  /** Has a wait for the replica at a URL cut when it falls silent. @returns what ends the wait. */
  wait(url: string, cut: (reason: Error) => void): () => void
  /** @throws when no replica says that it is ready. */
  ready(): Promise<ReplicaCounts>
}

/**
 * Balances in the client: an HTTP/2 connection stays with one replica, so each replica has its own and every call chooses.
 * A call that a replica can have done nothing of is made again on the next one. One that may have arrived is made again only when its
 * method has no side effects and its replica went away or fell silent; the caller's signal and the deadline hold for each attempt.
 */
export function createUpstream(name: string, urls: readonly string[], log?: Logger): Upstream {
  const replicas = urls.map(
    url =>
      new Replica(url, isSilent => {
        if (isSilent) log?.warn('a replica gives no sign of life and is left out', { part: name, url })
        else log?.info('a replica is heard again', { part: name, url })
      }),
  )
  /** A read that was cut is made again so often: it may be what ends its replicas. */
  const repeatsMax = Math.max(1, replicas.length - 1)
  let turn = 0
  const inOrder = (): Replica[] => {
    turn = (turn + 1) % replicas.length
    const now = performance.now()
    const order = [...replicas.slice(turn), ...replicas.slice(0, turn)].filter(one => !one.sessions.isSilent)
    return [...order.filter(one => !one.isAvoided(now)), ...order.filter(one => one.isAvoided(now))]
  }
  const attempt = async <T>(
    method: DescMethod,
    signal: AbortSignal | undefined,
    call: (transport: Transport) => Promise<T>,
  ): Promise<T> => {
    const begun = performance.now()
    let repeats = 0
    for (let round = 1; ; round++) {
      let last: unknown = new SilentReplica(name)
      for (const replica of inOrder()) {
        try {
          return await call(replica.transport)
        } catch (reason) {
          if (signal?.aborted) throw reason
          if (!wasNotSent(reason)) {
            if (!wentAway(reason)) throw reason
            if (!isRead(method) || repeats++ === repeatsMax) throw unavailable(`The ${name} service went away`, reason)
          }
          replica.avoid()
          last = reason
        }
      }
      if (!isWorthWaiting(last, begun)) throw unavailable(`The ${name} service cannot be reached`, last)
      if (round === 1) continue
      await pause(RETRY_PAUSE_MS, undefined, { signal }).catch(reason => {
        throw new ConnectError('The call was given up', Code.Canceled, undefined, undefined, reason)
      })
    }
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
        const sent = sentWith(signal, timeoutMs, header, values)
        return attempt(method, sent.signal, transport => transport.unary(method, sent.signal, sent.timeoutMs(), sent.header, input, values))
      },
      async stream<I extends DescMessage, O extends DescMessage>(
        method: DescMethodStreaming<I, O>,
        signal: AbortSignal | undefined,
        timeoutMs: number | undefined,
        header: HeadersLike | undefined,
        input: AsyncIterable<MessageInitShape<I>>,
        values?: ContextValues,
      ): Promise<StreamResponse<I, O>> {
        if (method.methodKind !== 'server_streaming') throw new ConnectError('Only answers can be streams', Code.Unimplemented)
        const messages = await Array.fromAsync(input)
        const sent = sentWith(signal, timeoutMs, header, values)
        const answer = await attempt(method, sent.signal, transport =>
          transport.stream(method, sent.signal, sent.timeoutMs(), sent.header, each(messages), values),
        )
        const told = (reason: unknown) =>
          !sent.signal?.aborted && wentAway(reason) ? unavailable(`The ${name} service went away`, reason) : reason
        return { ...answer, message: failingWith(answer.message, told) }
      },
    },
    pick: () => (inOrder()[0] ?? replicas[turn])?.url ?? '',
    avoid: url => replicas.find(one => one.url === url)?.avoid(),
    wait: (url, cut) => replicas.find(one => one.url === url)?.sessions.wait(cut) ?? (() => undefined),
    async ready() {
      const over = new AbortController()
      const timers = [setTimeout(() => over.abort(), READY_TIMEOUT_MS)]
      const checks = replicas.map(async one => {
        await one.checkReady(over.signal)
        if (timers.length === 1) timers.push(setTimeout(() => over.abort(), READY_GRACE_MS))
      })
      const results = await Promise.allSettled(checks)
      for (const timer of timers) clearTimeout(timer)
      const ready = results.filter(one => one.status === 'fulfilled').length
      if (ready > 0) return { ready, total: replicas.length }
      const reasons = results.flatMap(one => (one.status === 'rejected' ? [one.reason] : []))
      throw new Error(`no replica of ${name} is ready`, { cause: new AggregateError(reasons) })
    },
    [Symbol.dispose]() {
      for (const replica of replicas) replica[Symbol.dispose]()
    },
  }
}

/** What a call takes along of the context in its values: its end, what is left of its time, its id, who it is from. */
function sentWith(signal: AbortSignal | undefined, timeoutMs: number | undefined, header: HeadersLike, values: ContextValues | undefined) {
  const call = values?.get(callKey)
  if (!call) return { signal, timeoutMs: () => timeoutMs, header }
  const { deadline } = call
  const headers = new Headers(header)
  for (const [name, value] of Object.entries(identityHeaders(call))) headers.set(name, value)
  const left = () =>
    deadline === undefined ? timeoutMs : Math.max(0, Math.min(deadline - Date.now(), timeoutMs ?? Number.POSITIVE_INFINITY))
  return { signal: signal ?? call.signal, timeoutMs: left, header: headers }
}

const isRead = (method: DescMethod) => method.idempotency === Idempotency.NO_SIDE_EFFECTS

const unavailable = (message: string, cause: unknown) => new ConnectError(message, Code.Unavailable, undefined, undefined, cause)

async function* each<T>(values: readonly T[]): AsyncIterable<T> {
  yield* values
}
