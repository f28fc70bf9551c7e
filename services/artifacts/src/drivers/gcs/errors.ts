import type { ApiError } from '@google-cloud/storage'
import {
  doesNotExist,
  type ErrorCode,
  internalError,
  invalidParameter,
  MlflowError,
  permissionDenied,
  temporarilyUnavailable,
} from '@millrace/kit/errors'
import { noSuchArtifact, storeIsFull } from '../../errors.ts'
import { codeOf } from '../system-errors.ts'
import { isTransportTransient, transportError } from '../transport-errors.ts'

type Refusal = ApiError & { code: number }

/** Whether it is the SDK's error for a response outside 2xx: by its status, since the SDK may not be loaded. Other errors have small codes. */
const isRefusal = (error: unknown): error is Refusal =>
  error instanceof Error && 'code' in error && typeof error.code === 'number' && error.code >= 100

export const hasStatus = (error: unknown, status: number): boolean => isRefusal(error) && error.code === status

export const isMissing = (error: unknown): boolean => hasStatus(error, 404)

/** A token may end before its time is over. */
export const isRefusedToken = (error: unknown): boolean => hasStatus(error, 401)

/** Statuses after which Cloud Storage says to try again. */
const BUSY = new Set([408, 429, 500, 502, 503, 504])

/** Whether the same request may succeed soon. Not after a silence, which has cost the whole time already. */
export const isTransient = (error: unknown): boolean => (isRefusal(error) ? BUSY.has(error.code) : isTransportTransient(error))

/** MLflow's code for what Cloud Storage responded; wording of ours, since its own quotes accounts. */
export function gcsError(error: unknown, key: string): MlflowError {
  if (isRefusal(error)) return ofStatus(error, key)
  const options = { cause: error }
  const name = error instanceof Error ? error.name : 'Unknown'
  // Of why a URL couldn't be signed the SDK keeps only the message, which `signAs` makes MLflow's code.
  if (name === 'SigningError') return new MlflowError((error as Error).message as ErrorCode, 'Google signed no URL for the server', options)
  return transportError(error, key) ?? internalError(`The artifact store failed at artifact '${key}' (${codeOf(error) || name})`, options)
}

function ofStatus(error: Refusal, key: string): MlflowError {
  const status = error.code
  const reason = error.errors?.[0]?.reason ?? ''
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
