import {
  deadlineExceeded,
  doesNotExist,
  internalError,
  invalidParameter,
  MlflowError,
  permissionDenied,
  temporarilyUnavailable,
} from '@millrace/kit/errors'
import { noSuchArtifact, storeIsFull } from '../../errors.ts'
import { refusedByProxy, transportError } from '../transport-errors.ts'
import { SILENT_STORE } from './silence.ts'

interface Failure {
  /** S3's error code, else the name or code of the SDK's or Node's error. */
  code: string
  status?: number
}

/** Why a call failed that can't be made again, since something of its body was taken. The SDK sees nothing in it to repeat. */
export class BodyTaken extends Error {
  override readonly name = 'BodyTaken'
  readonly failure: unknown

  constructor(failure: unknown) {
    super('the body was taken')
    this.failure = failure
  }
}

/** Reads an error of the SDK without depending on its classes, so that the SDK stays lazily loaded. */
export function failureOf(error: unknown): Failure {
  if (error instanceof BodyTaken) return failureOf(error.failure)
  if (!(error instanceof Error)) return { code: 'Unknown' }
  const { $metadata, Code, code } = error as { $metadata?: { httpStatusCode?: number }; Code?: unknown; code?: unknown }
  // The SDK gives a lost connection the name of a timeout.
  const vague = ['Error', 'UnknownError', 'TimeoutError'].includes(error.name)
  const known = (vague ? [Code, code, error.name] : [Code, error.name, code]).find(value => typeof value === 'string' && value !== '')
  return { code: String(known ?? 'Unknown'), status: $metadata?.httpStatusCode }
}

export function isMissing(error: unknown): boolean {
  const { code, status } = failureOf(error)
  return code === 'NoSuchKey' || code === 'NotFound' || (status === 404 && code !== 'NoSuchBucket' && code !== 'NoSuchUpload')
}

/** MLflow's code for what S3 answered; wording of ours, since S3's may quote keys of the account. */
export function s3Error(error: unknown, key: string): MlflowError {
  if (error instanceof BodyTaken) return s3Error(error.failure, key)
  const { code, status } = failureOf(error)
  const reason = code === SILENT_STORE ? ((error as { reason?: unknown }).reason ?? error) : error
  const transport = transportError(status === 407 ? refusedByProxy() : reason, key)
  if (transport) return transport
  const options = { cause: error }
  switch (code) {
    case 'NoSuchBucket':
      return doesNotExist('The bucket of the artifact location does not exist', options)
    case 'NoSuchUpload':
      return doesNotExist('No such multipart upload', options)
    case 'InvalidPart':
    case 'InvalidPartOrder':
    case 'EntityTooSmall':
    case 'MalformedXML':
      return invalidParameter(`The store refused the parts of artifact '${key}' (${code})`, options)
    case 'InvalidBucketName':
    case 'KeyTooLongError':
    case 'InvalidURI':
    case 'InvalidArgument':
    case 'EntityTooLarge':
      return invalidParameter(`The store refused artifact '${key}' (${code})`, options)
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
      return new MlflowError('UNAUTHENTICATED', `The artifact store refused the server's credentials (${code})`, options)
    case 'AccessDenied':
    case 'ExpiredToken':
    case 'ExpiredTokenException':
    case 'InvalidToken':
    case 'CredentialsProviderError':
    case 'TokenProviderError':
      return permissionDenied(`The artifact store refused the server access to artifact '${key}' (${code})`, options)
    case 'InternalError':
    case 'SlowDown':
    case 'ServiceUnavailable':
    case 'Throttling':
    case 'ThrottlingException':
    case 'TooManyRequestsException':
    case 'RequestLimitExceeded':
      return temporarilyUnavailable('The artifact store is busy', options)
    case SILENT_STORE:
    case 'RequestTimeout':
      return deadlineExceeded('The artifact store took too long', options)
    // MinIO's words, and Ceph's.
    case 'XMinioStorageFull':
    case 'XMinioAdminBucketQuotaExceeded':
    case 'QuotaExceeded':
      return storeIsFull(error, code)
    case 'InvalidObjectState':
      return new MlflowError('RESOURCE_CONFLICT', 'The artifact is in the archive tier of its store', options)
    default:
      if (isMissing(error)) return noSuchArtifact(key, error)
      if (status === 401 || status === 403) {
        return permissionDenied(`The artifact store refused the server access to artifact '${key}' (${code})`, options)
      }
      if (status === 507) return storeIsFull(error, code)
      if (status === 429 || status === 503) return temporarilyUnavailable('The artifact store is busy', options)
      return internalError(`The artifact store failed at artifact '${key}' (${code})`, options)
  }
}
