import { internalError, invalidParameter, MlflowError, permissionDenied, temporarilyUnavailable } from '@millrace/kit/errors'
import { fileInTheWay, folderInTheWay, noSuchArtifact, storeIsFull } from '../../errors.ts'
import { codeOf, isUnreachable } from '../system-errors.ts'
import { transportError } from '../transport-errors.ts'

/** What a server of WebHDFS answered instead of a result. The message may name users, paths and tokens: it stays within the server. */
export class RemoteFailure extends Error {
  override readonly name = 'RemoteFailure'
  readonly status: number
  /** Java's class name without its package; "" when the answer isn't WebHDFS's. */
  readonly exception: string

  constructor(status: number, exception: string, message: string) {
    super(message)
    this.status = status
    this.exception = exception
  }
}

/** Kerberos gave nothing to show to the store. */
export class NoTicket extends Error {
  override readonly name = 'NoTicket'

  constructor(cause: unknown) {
    super('no Kerberos ticket', { cause })
  }
}

export const isUnreachableOrSilent = (error: unknown): boolean => isUnreachable(error) || codeOf(error) === 'ETIMEDOUT'

/** Whether the path leads nowhere, also because one of its folders is a file. */
export function isAbsent(error: unknown): boolean {
  return error instanceof RemoteFailure && (error.exception === 'FileNotFoundException' || isBelowFile(error))
}

/** HDFS has no exception of its own for a path through a file: the check of permissions stumbles over it. */
function isBelowFile(error: RemoteFailure): boolean {
  return error.exception === 'ParentNotDirectoryException' || (isDenied(error) && /\(is not a directory\)/.test(error.message))
}

export function isDenied({ exception }: RemoteFailure): boolean {
  return exception === 'AccessControlException'
}

function isSafeMode({ exception, message }: RemoteFailure): boolean {
  return exception === 'SafeModeException' || (exception === 'RetriableException' && /safe ?mode/i.test(message))
}

/** Whether another name node, or the same one a little later, would answer. */
export function isStandby(error: unknown): boolean {
  return error instanceof RemoteFailure && /^(Standby|Retriable)Exception$/.test(error.exception) && !isSafeMode(error)
}

/** MLflow's code for what went wrong at `key`. */
export function hdfsError(error: unknown, key: string): MlflowError {
  if (error instanceof RemoteFailure) return remoteError(error, key)
  const options = { cause: error }
  if (error instanceof NoTicket) {
    return new MlflowError('UNAUTHENTICATED', 'The server has no valid Kerberos ticket for the artifact store', options)
  }
  return transportError(error, key) ?? internalError(`The artifact store failed at artifact '${key}'`, options)
}

function remoteError(error: RemoteFailure, key: string): MlflowError {
  const options = { cause: error }
  if (isBelowFile(error)) return fileInTheWay(key, error)
  if (isSafeMode(error)) return temporarilyUnavailable('The artifact store is in safe mode: it takes no changes for now', options)
  if (/could only be (written|replicated) to \d+/.test(error.message)) return full(error)
  if (/^(Failed to find datanode|No active nodes contain)/.test(error.message))
    return temporarilyUnavailable('The artifact store has no data node to offer', options)
  if (/^Unable to close file because the last block/.test(error.message))
    return temporarilyUnavailable('The artifact store is behind with its blocks', options)
  if (/^The maximum path component name limit/.test(error.message)) return invalidName(error, key)
  if (/^The directory item limit/.test(error.message)) return full(error)
  if (/must both be directories/.test(error.message)) return folderInTheWay(key, error)
  switch (error.exception) {
    case 'FileNotFoundException':
      return noSuchArtifact(key, error)
    case 'FileAlreadyExistsException':
      return folderInTheWay(key, error)
    case 'AccessControlException':
    case 'AuthorizationException':
    case 'InvalidToken':
      return permissionDenied(`The artifact store refused the server access to artifact '${key}' (${error.exception})`, options)
    case 'InvalidPathException':
    case 'HadoopIllegalArgumentException':
    case 'IllegalArgumentException':
    case 'PathComponentTooLongException':
      return invalidName(error, key)
    case 'DSQuotaExceededException':
    case 'NSQuotaExceededException':
    case 'QuotaExceededException':
    case 'QuotaByStorageTypeExceededException':
    case 'MaxDirectoryItemsExceededException':
      return full(error)
    case 'BlockMissingException':
    case 'ClosedChannelException':
    case 'ConnectException':
    case 'ConnectTimeoutException':
    case 'EOFException':
    case 'LeaseExpiredException':
    case 'NoRouteToHostException':
    case 'SocketException':
    case 'SocketTimeoutException':
    case 'UnknownHostException':
      return temporarilyUnavailable(`The artifact store does not reach a part of itself (${error.exception})`, options)
    case 'StandbyException':
    case 'RetriableException':
      return temporarilyUnavailable('The artifact store has no active name node', options)
    case '':
      return unknownAnswer(error)
    default:
      if (error.status === 401) return unauthenticated(options)
      return internalError(`The artifact store failed at artifact '${key}' (${error.exception})`, options)
  }
}

/** Data nodes pass some exceptions of name nodes on without their class. */
function invalidName(cause: RemoteFailure, key: string): MlflowError {
  return invalidParameter(`The store refused artifact '${key}' (${cause.exception})`, { cause })
}

function full(cause: RemoteFailure): MlflowError {
  return storeIsFull(cause, cause.exception)
}

function unknownAnswer(error: RemoteFailure): MlflowError {
  const options = { cause: error }
  switch (error.status) {
    case 401:
      return unauthenticated(options)
    case 403:
      return permissionDenied('The artifact store refused the server access', options)
    case 429:
    case 502:
    case 503:
    case 504:
      return temporarilyUnavailable('The artifact store is busy', options)
    case 507:
      return storeIsFull(error)
    default:
      return internalError(`The artifact store does not answer as WebHDFS does (HTTP ${error.status})`, options)
  }
}

function unauthenticated(options: { cause: unknown }): MlflowError {
  return new MlflowError('UNAUTHENTICATED', "The artifact store did not accept the server's Kerberos or user name", options)
}
