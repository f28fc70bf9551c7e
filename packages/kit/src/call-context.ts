import { randomBytes } from 'node:crypto'
import { type CallOptions, Code, ConnectError, type ContextValues, createContextKey, createContextValues } from '@connectrpc/connect'
import { cancelled, deadlineExceeded, type MlflowError } from './errors.ts'

/** Somebody who waits for a result. */
export interface Caller {
  /** Aborted when the result is of no use any more: the client left or the deadline passed. */
  readonly signal: AbortSignal
  /** The same at this moment. It makes no signal, so it is for what every request passes. */
  readonly hasEnded: boolean
}

/** Who a request is from. */
export interface Principal {
  readonly name: string
}

export const ANONYMOUS: Principal = { name: 'anonymous' }

/** What goes with a request through every service that it reaches. */
export interface CallContext extends Caller {
  /** Milliseconds since the epoch. */
  readonly deadline: number | undefined
  readonly requestId: string
  readonly principal: Principal
}

/** What of it is told to whoever does something for the request. */
export type CallIdentity = Pick<CallContext, 'requestId' | 'principal'>

/** What a client sends, and services send each other. */
export const identityHeaders = ({ requestId, principal }: CallIdentity): Record<string, string> => ({
  [REQUEST_ID_HEADER]: requestId,
  [PRINCIPAL_HEADER]: principal.name,
})

/** Where the values of an RPC hold its context. */
export const callKey = createContextKey<CallContext | undefined>(undefined, { description: 'call' })

export const REQUEST_ID_HEADER = 'x-request-id'
/** Between services only: what a client sends in it is not looked at. */
export const PRINCIPAL_HEADER = 'x-millrace-principal'

const REQUEST_ID = /^[\w.:/+=@-]{1,128}$/
const PROCESS_ID = randomBytes(6).toString('hex')
let lastRequest = 0

/** An id of this process's own. */
export const newRequestId = (): string => `${PROCESS_ID}-${(++lastRequest).toString(36)}`

/** An id that came with a request, if it may go into logs and headers. */
export const checkRequestId = (text: unknown): string | undefined => (typeof text === 'string' && REQUEST_ID.test(text) ? text : undefined)

/** The context of a call whose signal is there already. */
export class SignalledCall implements CallContext {
  readonly signal: AbortSignal
  readonly deadline: number | undefined
  readonly principal: Principal
  #requestId: string | undefined

  constructor(signal: AbortSignal, { requestId, deadline, principal = ANONYMOUS }: Partial<Omit<CallContext, keyof Caller>> = {}) {
    this.signal = signal
    this.deadline = deadline
    this.principal = principal
    this.#requestId = requestId
  }

  get hasEnded(): boolean {
    return this.signal.aborted
  }

  get requestId(): string {
    this.#requestId ??= newRequestId()
    return this.#requestId
  }
}

/** What the context of an RPC's handler tells of its call. */
interface Handled {
  readonly signal: AbortSignal
  readonly values: ContextValues
}

/** The call that a handler serves. */
export const callOf = (context: Handled): CallContext => context.values.get(callKey) ?? new SignalledCall(context.signal)

/** Options for what a handler calls on behalf of its own caller: it ends with it. */
export const callOptions = ({ signal, values }: Handled): CallOptions => ({ signal, contextValues: values })

/**
 * Options for what goes on when its caller has gone.
 * @param call whose request it belongs to.
 */
export function ownCallOptions(timeoutMs: number, call?: CallIdentity): CallOptions {
  const signal = AbortSignal.timeout(timeoutMs)
  const own = new SignalledCall(signal, { requestId: call?.requestId, principal: call?.principal })
  return { timeoutMs, signal, contextValues: createContextValues().set(callKey, own) }
}

/** Why a caller's call has ended. */
export function endOf({ signal: { reason } }: Pick<Caller, 'signal'>): MlflowError {
  const isLate = reason instanceof ConnectError ? reason.code === Code.DeadlineExceeded : reason?.name === 'TimeoutError'
  return isLate
    ? deadlineExceeded('The request took too long', { cause: reason })
    : cancelled('The request was cancelled', { cause: reason })
}

/** @throws CANCELLED or DEADLINE_EXCEEDED when nobody waits any more. */
export function throwIfEnded(caller: Caller | undefined): void {
  if (caller?.hasEnded) throw endOf(caller)
}

/**
 * The result of `work`, or the end of the call if that comes first.
 * @param end called then: nobody looks at the result any more.
 */
export function untilEnded<T>(caller: Caller | undefined, work: Promise<T>, end: () => void = () => undefined): Promise<T> {
  if (!caller) return work
  const { signal } = caller
  return new Promise((resolve, reject) => {
    const ended = () => {
      reject(endOf(caller))
      end()
    }
    const settled = () => signal.removeEventListener('abort', ended)
    work.finally(settled).then(resolve, reject)
    if (signal.aborted) ended()
    else signal.addEventListener('abort', ended, { once: true })
  })
}
