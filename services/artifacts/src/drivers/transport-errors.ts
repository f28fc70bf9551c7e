import { cancelled, deadlineExceeded, internalError, MlflowError, permissionDenied, temporarilyUnavailable } from '@millrace/kit/errors'
import { codeOf, isUnreachable, isUntrusted } from './system-errors.ts'

/** The error of a store that said nothing for as long as is allowed. */
export const silentStore = (about = 'no response in time'): Error => Object.assign(new Error(about), { code: 'ETIMEDOUT' })

/** The error of a response that is too long to be read whole. */
export const oversized = (): Error => Object.assign(new Error('the response is too long'), { code: 'OVERSIZED_RESPONSE' })

const PROXY_FAILURES = new WeakSet<object>()

/** Says that a failed connection was one to the proxy in front of the store. */
export function blameProxy<T extends object>(error: T): T {
  PROXY_FAILURES.add(error)
  return error
}

/** The error of a proxy that refuses the server's credentials. */
export const refusedByProxy = (): Error => Object.assign(new Error('the proxy answered 407'), { code: 'ERR_PROXY_TUNNEL', statusCode: 407 })

/** Whether the same call may succeed now. Not after a silence, which has cost the whole time already. */
export const isTransportTransient = isUnreachable

/**
 * What a failed call over HTTP is to clients; undefined for other failures, which the driver knows.
 * @param subject who failed, at the beginning of a sentence.
 */
export function transportError(error: unknown, key: string, subject = 'The artifact store'): MlflowError | undefined {
  if (error instanceof MlflowError) return error
  const options = { cause: error }
  const code = codeOf(error)
  const proxy = proxyError(error, code)
  if (proxy) return proxy
  if (isUnreachable(error)) return temporarilyUnavailable(`${subject} is not reachable`, options)
  if (isUntrusted(error)) return temporarilyUnavailable(`No trusted connection to ${inSentence(subject)} is possible (${code})`, options)
  if (code === 'ETIMEDOUT' || nameOf(error) === 'TimeoutError') return deadlineExceeded(`${subject} took too long`, options)
  if (code === 'ABORT_ERR' || code === 'ERR_STREAM_PREMATURE_CLOSE' || nameOf(error) === 'AbortError') {
    return cancelled(`The transfer of artifact '${key}' was cut off`, options)
  }
  if (code === 'OVERSIZED_RESPONSE') return internalError(`${subject} gave a response that is too long, at artifact '${key}'`, options)
  return undefined
}

function proxyError(error: unknown, code: string): MlflowError | undefined {
  const options = { cause: error }
  if (error instanceof Error && PROXY_FAILURES.has(error)) {
    return code === 'ETIMEDOUT'
      ? deadlineExceeded('The artifact store or its HTTP proxy took too long', options)
      : temporarilyUnavailable('The HTTP proxy of the artifact store is not reachable', options)
  }
  if (code !== 'ERR_PROXY_TUNNEL') return undefined
  const { statusCode = 0 } = error as { statusCode?: number }
  if (statusCode === 407 || statusCode === 401)
    return new MlflowError('UNAUTHENTICATED', "The HTTP proxy refused the server's credentials", options)
  if (statusCode === 403) return permissionDenied('The HTTP proxy refuses connections to the artifact store', options)
  return temporarilyUnavailable(`The HTTP proxy does not reach the artifact store${statusCode ? ` (${statusCode})` : ''}`, options)
}

const nameOf = (error: unknown) => (error instanceof Error ? error.name : '')

const inSentence = (subject: string) => subject.charAt(0).toLowerCase() + subject.slice(1)
