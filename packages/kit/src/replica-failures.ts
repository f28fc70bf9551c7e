import { Code, ConnectError } from '@connectrpc/connect'
import { ErrorDetailSchema } from '@millrace/proto/millrace/errors/v1/errors_pb'

/** Failures of a connection that did not stand, so that nothing was sent. */
const NOT_CONNECTED = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'])
/** Failures that leave open whether the call arrived. */
const CUT = new Set(['ECONNRESET', 'EPIPE', 'EHOSTDOWN', 'ERR_HTTP2_STREAM_ERROR', 'ERR_HTTP2_SESSION_ERROR', 'ERR_HTTP2_STREAM_CANCEL'])
/** What connect-node makes of a session that ended under a call; a service's own errors carry a detail. */
const GONE = new Set([Code.Unavailable, Code.Aborted, Code.Canceled])
/** The other side did nothing of the stream: its id is above the last one of a GOAWAY, or it was refused (RFC 9113 section 8.7). */
const REFUSED_STREAM = /REFUSED_STREAM/

/** A service that restarts is waited for so long: what was not sent is tried until then. */
const RESTART_MS_MAX = 10_000
/** A frozen one may stay so. */
const SILENCE_MS_MAX = 2_000

/** Nothing of the call has left this process. */
export class NotSent extends Error {}

/** No sign of life came from a replica for as long as one is waited for. */
export class SilentReplica extends Error {
  readonly code = 'EHOSTDOWN'
  constructor(url: string) {
    super(`${url} gives no sign of life`)
  }
}

/** Whether the replica can have done nothing of what was asked. */
export function wasNotSent(reason: unknown): boolean {
  for (let cause = reason; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof NotSent || NOT_CONNECTED.has(codeOf(cause)) || REFUSED_STREAM.test(cause.message)) return true
  }
  return false
}

/** The connection broke: an error without a word from the other side. */
export function wentAway(reason: unknown): boolean {
  if (!(reason instanceof ConnectError) || reason.findDetails(ErrorDetailSchema).length > 0) return false
  return GONE.has(reason.code) || CUT.has(codeOf(reason.cause))
}

const codeOf = (reason: unknown) => (reason instanceof Error ? String(Reflect.get(reason, 'code')) : '')

/** Whether what was not sent since `begun` because of `reason` may still go through. */
export function isWorthWaiting(reason: unknown, begun: number): boolean {
  for (let cause = reason; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof SilentReplica) return performance.now() < begun + SILENCE_MS_MAX
  }
  return performance.now() < begun + RESTART_MS_MAX
}
