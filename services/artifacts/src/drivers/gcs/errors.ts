import {
  cancelled,
  deadlineExceeded,
  doesNotExist,
  internalError,
  invalidParameter,
  MlflowError,
  permissionDenied,
  temporarilyUnavailable,
} from '@millrace/kit/errors'
import { noSuchArtifact, storeIsFull, storeIsUntrusted } from '../../errors.ts'
import { codeOf, isUnreachable, isUntrusted } from '../system-errors.ts'

/** An answer that isn't a success. */
export class GcsFailure extends Error {
  override readonly name = 'GcsFailure'
  readonly status: number
  /** The store's own word for it: `notFound`, `rateLimitExceeded`, …; "" when it gave none. */
  readonly reason: string

  constructor(status: number, reason: string) {
    super(`the store answered ${status}${reason && ` (${reason})`}`)
    this.status = status
    this.reason = reason
  }
}

/** No credentials could be had, or the store's token service refused them. */
export class CredentialsFailure extends Error {
  override readonly name = 'CredentialsFailure'
}

export const timedOut = (): Error => Object.assign(new Error('the store was silent for too long'), { code: 'ETIMEDOUT' })

export const isMissing = (error: unknown): boolean => error instanceof GcsFailure && error.status === 404

/** A token may end before its time is over. */
export const isRefusedToken = (error: unknown): boolean => error instanceof GcsFailure && error.status === 401

/** Statuses after which Cloud Storage says to try again. */
const BUSY = new Set([408, 429, 500, 502, 503, 504])

/** Whether the same request may succeed now. Not after a silence, which has cost the whole time already. */
export function isPassing(error: unknown): boolean {
  return error instanceof GcsFailure ? BUSY.has(error.status) : isUnreachable(error)
}

/** MLflow's code for what Cloud Storage answered; wording of ours, since its own quotes accounts. */
export function gcsError(error: unknown, key: string): MlflowError {
  if (error instanceof MlflowError) return error
  const options = { cause: error }
  if (error instanceof GcsFailure) return ofStatus(error, key)
  if (error instanceof CredentialsFailure) {
    return new MlflowError('UNAUTHENTICATED', "Google refused the server's credentials for the artifact store", options)
  }
  const code = codeOf(error) || (error instanceof Error ? error.name : 'Unknown')
  if (isUnreachable(error)) return temporarilyUnavailable('The artifact store is not reachable', options)
  if (isUntrusted(error)) return storeIsUntrusted(code, error)
  switch (code) {
    case 'ETIMEDOUT':
    case 'TimeoutError':
      return deadlineExceeded('The artifact store took too long', options)
    case 'AbortError':
    case 'ABORT_ERR':
    case 'ERR_STREAM_PREMATURE_CLOSE':
      return cancelled(`The transfer of artifact '${key}' was cut off`, options)
    default:
      return internalError(`The artifact store failed at artifact '${key}' (${code})`, options)
  }
}

function ofStatus(error: GcsFailure, key: string): MlflowError {
  const { status, reason } = error
  const options = { cause: error }
  switch (status) {
    case 400:
    case 411:
    case 412:
    case 413:
      return invalidParameter(`The store refused artifact '${key}' (${status}${reason && ` ${reason}`})`, options)
    case 401:
      return new MlflowError('UNAUTHENTICATED', "The artifact store refused the server's credentials", options)
    case 403:
      if (/rateLimit|quota/i.test(reason)) return temporarilyUnavailable('The artifact store is busy', options)
      return permissionDenied(`The artifact store refused the server access to artifact '${key}'`, options)
    case 404:
      return noSuchArtifact(key, error)
    case 507:
      return storeIsFull(error)
    default:
      if (BUSY.has(status)) return temporarilyUnavailable('The artifact store is busy', options)
      return internalError(`The artifact store failed at artifact '${key}' (${status})`, options)
  }
}

export const noSuchBucket = (cause?: unknown): MlflowError => doesNotExist('The bucket of the artifact location does not exist', { cause })
