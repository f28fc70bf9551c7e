import { cancelled, internalError, invalidParameter, MlflowError, permissionDenied, temporarilyUnavailable } from '@millrace/kit/errors'
import { fileInTheWay, folderInTheWay, noSuchArtifact, storeIsFull } from '../../errors.ts'
import { codeOf } from '../system-errors.ts'

/** Whether a path leads nowhere, also because one of its folders is a file. */
export function isAbsent(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

/** What went wrong with the file at `key`, without its place on the disk. */
export function localError(error: unknown, key: string): MlflowError {
  if (error instanceof MlflowError) return error
  if (error instanceof Error && error.name === 'AbortError') return cutOff(key, error)
  switch (codeOf(error)) {
    case 'ENOENT':
      return noSuchArtifact(key, error)
    case 'ENOTDIR':
    case 'EEXIST':
      return fileInTheWay(key, error)
    case 'EISDIR':
    case 'ENOTEMPTY':
      return folderInTheWay(key, error)
    case 'ENAMETOOLONG':
      return invalidParameter('Artifact path is too long', { cause: error })
    case 'ELOOP':
    case 'EILSEQ':
    case 'EINVAL':
      return invalidParameter('Invalid path', { cause: error })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return permissionDenied(`The server may not access artifact '${key}'`, { cause: error })
    case 'ENOSPC':
    case 'EDQUOT':
      return storeIsFull(error)
    case 'EMFILE':
    case 'ENFILE':
      return temporarilyUnavailable('The server has too many open files', { cause: error })
    case 'ABORT_ERR':
    case 'ECONNRESET':
    case 'ERR_STREAM_PREMATURE_CLOSE':
      return cutOff(key, error)
    default:
      return internalError(`The artifact store failed at artifact '${key}'`, { cause: error })
  }
}

const cutOff = (key: string, cause: unknown) => cancelled(`The transfer of artifact '${key}' was cut off`, { cause })
