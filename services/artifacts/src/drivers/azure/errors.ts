import { isRestError } from '@azure/storage-blob'
import {
  deadlineExceeded,
  type ErrorCode,
  internalError,
  invalidParameter,
  MlflowError,
  permissionDenied,
  temporarilyUnavailable,
} from '@millrace/kit/errors'
import { fileInTheWay, folderInTheWay, noSuchArtifact, storeIsFull } from '../../errors.ts'
import { codeOf as systemCodeOf } from '../system-errors.ts'
import { isTransportTransient, transportError } from '../transport-errors.ts'

/** What the Blob service refused, without URL and headers, which may be signed. */
class AzureFailure extends Error {
  override readonly name = 'AzureFailure'

  constructor(error: unknown) {
    super(`the Blob service answered ${statusOf(error)} ${codeOf(error)}`)
  }
}

/** The service's error code, or that of a failed connection. */
export function codeOf(error: unknown): string {
  return isRestError(error) ? (error.response?.headers.get('x-ms-error-code') ?? error.code ?? '') : systemCodeOf(error)
}

/** 0 for anything but a response. */
export const statusOf = (error: unknown): number => (isRestError(error) ? (error.statusCode ?? 0) : 0)

/** No blob; a missing container is something else. */
export function isMissing(error: unknown): boolean {
  return statusOf(error) === 404 && codeOf(error) !== 'ContainerNotFound'
}

const TRANSIENT_STATUSES = new Set([408, 429, 500, 502, 503, 504])

export const isTransientStatus = (status: number): boolean => TRANSIENT_STATUSES.has(status)

/** Failures that a repetition may mend. */
export const isTransient = (error: unknown): boolean => isTransientStatus(statusOf(error)) || isTransportTransient(error)

/** What the SDK makes of a body whose connection is lost. */
export const isCutShort = (error: unknown): boolean =>
  error instanceof Error && (error.name === 'AbortError' || error.message.startsWith('Data corruption failure'))

const CODES: Record<string, readonly [ErrorCode, string]> = {
  ContainerNotFound: ['RESOURCE_DOES_NOT_EXIST', 'The container of the artifact location does not exist'],
  ContainerBeingDeleted: ['TEMPORARILY_UNAVAILABLE', 'The container of the artifact location is being deleted'],
  AccountBeingCreated: ['TEMPORARILY_UNAVAILABLE', 'The storage account of the artifact location is being created'],
  AuthenticationFailed: ['UNAUTHENTICATED', "The artifact store refused the server's credentials"],
  InvalidAuthenticationInfo: ['UNAUTHENTICATED', "The artifact store refused the server's credentials"],
  NoAuthenticationInformation: ['UNAUTHENTICATED', "The artifact store refused the server's credentials"],
  AccountIsDisabled: ['PERMISSION_DENIED', 'The storage account of the artifact location is disabled'],
  BlobImmutableDueToPolicy: ['PERMISSION_DENIED', 'A policy of the artifact store forbids changes of the artifact'],
  BlobImmutableDueToLegalHold: ['PERMISSION_DENIED', 'A legal hold in the artifact store forbids changes of the artifact'],
  LeaseIdMissing: ['RESOURCE_CONFLICT', 'Another program holds a lease on the artifact'],
  BlobArchived: ['RESOURCE_CONFLICT', 'The artifact is in the archive tier of its store'],
  BlobBeingRehydrated: ['TEMPORARILY_UNAVAILABLE', 'The artifact is on its way out of the archive tier of its store'],
  InvalidBlobOrBlock: ['RESOURCE_CONFLICT', 'An unfinished upload by another program is in the way; the store drops it within a week'],
  ConditionNotMet: ['RESOURCE_CONFLICT', 'The artifact was replaced at the same time'],
  InvalidBlockList: ['RESOURCE_CONFLICT', 'The artifact was replaced while it was being uploaded'],
  InvalidResourceName: ['INVALID_PARAMETER_VALUE', 'The artifact store refuses the name of the artifact'],
  OutOfRangeInput: ['INVALID_PARAMETER_VALUE', 'The artifact store refuses the name of the artifact'],
  InvalidUri: ['INVALID_PARAMETER_VALUE', 'The artifact store refuses the name of the artifact'],
  RequestBodyTooLarge: ['INVALID_PARAMETER_VALUE', 'The artifact is larger than its store takes'],
  BlockCountExceedsLimit: ['INVALID_PARAMETER_VALUE', 'The artifact is larger than its store takes'],
}

const FULL = new Set(['AccountLimitExceeded', 'InsufficientStorage'])

/** MLflow's code for what Azure answered; wording of ours, since Azure's quotes what was signed. */
export function azureError(failure: unknown, key: string): MlflowError {
  if (failure instanceof MlflowError) return failure
  const code = codeOf(failure)
  const status = statusOf(failure)
  const error = isRestError(failure) ? new AzureFailure(failure) : failure
  const options = { cause: error }
  const known = Object.hasOwn(CODES, code) ? CODES[code] : undefined
  if (known) return new MlflowError(known[0], `${known[1]} (${code})`, options)
  const transport = transportError(error, key)
  if (transport) return transport
  if (status === 507 || FULL.has(code)) return storeIsFull(error, code)
  switch (code) {
    case 'ParentPathIsNotADirectory':
    case 'PathConflict':
      return fileInTheWay(key, error)
    case 'ResourceTypeMismatch':
    case 'DirectoryIsNotEmpty':
      return folderInTheWay(key, error)
    case 'OperationTimedOut':
      return deadlineExceeded('The artifact store took too long', options)
  }
  if (status === 404) return noSuchArtifact(key, error)
  if (status === 401) return new MlflowError('UNAUTHENTICATED', `The artifact store refused the server's credentials (${code})`, options)
  if (status === 403) return permissionDenied(`The artifact store refused the server access to artifact '${key}' (${code})`, options)
  if (status === 400) return invalidParameter(`The artifact store refused artifact '${key}' (${code})`, options)
  if (status === 429 || status === 503) return temporarilyUnavailable('The artifact store is busy', options)
  return internalError(`The artifact store failed at artifact '${key}' (${code})`, options)
}
