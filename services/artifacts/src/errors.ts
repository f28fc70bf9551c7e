import type { ByteRange } from '@millrace/kit/bytes'
import { doesNotExist, invalidParameter, MlflowError, temporarilyUnavailable } from '@millrace/kit/errors'

/** Error classes that tell callers in front of a store what happened; they are not MLflow's and go no further. */
export const IS_A_DIRECTORY = 'IS_A_DIRECTORY'
export const RANGE_NOT_SATISFIABLE = 'RANGE_NOT_SATISFIABLE'

/** @param key as the client named it. Source of the wording: GET /api/2.0/mlflow-artifacts/artifacts/<path>. */
export const noSuchArtifact = (key: string, cause?: unknown): MlflowError => doesNotExist(`No such artifact: '${key}'`, { cause })

export const isDirectory = (key: string, cause?: unknown): MlflowError =>
  invalidParameter(`Artifact path refers to a directory, not a file: '${key}'`, { errorClass: IS_A_DIRECTORY, cause })

/** The error about `key` with the path that the client wrote for it. */
export function namedAs(path: string, key: string, error: unknown): unknown {
  if (!(error instanceof MlflowError) || !error.rawMessage.endsWith(`'${key}'`)) return error
  const { errorCode, errorClass, rawMessage } = error
  return new MlflowError(errorCode, `${rawMessage.slice(0, -key.length - 1)}${path}'`, { errorClass, cause: error })
}

export const rangeNotSatisfiable = (range: ByteRange, size?: number): MlflowError =>
  invalidParameter(`The range from byte ${range.start} is outside the artifact${size === undefined ? '' : ` of ${size} bytes`}`, {
    errorClass: RANGE_NOT_SATISFIABLE,
  })

export const fileInTheWay = (key: string, cause?: unknown): MlflowError =>
  invalidParameter(`A file is where a folder of artifact '${key}' would be`, { cause })

export const folderInTheWay = (key: string, cause?: unknown): MlflowError =>
  invalidParameter(`A folder is where artifact '${key}' would be`, { cause })

/** @param about the store's own word for it. */
export const storeIsFull = (cause?: unknown, about = ''): MlflowError =>
  temporarilyUnavailable(`The artifact store is full${about && ` (${about})`}`, { cause })

/** @param code of the failed connection: Node's, or OpenSSL's. */
export const storeIsUntrusted = (code: string, cause?: unknown): MlflowError =>
  temporarilyUnavailable(`No trusted connection to the artifact store is possible (${code})`, { cause })

/** First and last byte of `range` in an object of `size` bytes, both inclusive (RFC 9110 section 14.1.2). */
export function resolveRange(range: ByteRange, size: number): { start: number; end: number } {
  const start = range.start < 0 ? Math.max(0, size + range.start) : range.start
  const end = Math.min(range.end ?? size - 1, size - 1)
  if (start > end) throw rangeNotSatisfiable(range, size)
  return { start, end }
}
