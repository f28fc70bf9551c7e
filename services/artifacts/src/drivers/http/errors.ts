import {
  deadlineExceeded,
  internalError,
  invalidParameter,
  MlflowError,
  permissionDenied,
  temporarilyUnavailable,
} from '@millrace/kit/errors'
import { noSuchArtifact } from '../../errors.ts'
import { transportError } from '../transport-errors.ts'

/** The other server's answer was not a success. */
export class HttpFailure extends Error {
  readonly status: number
  /** MLflow's, where the answer has one. */
  readonly errorCode: string | undefined
  /** Text of the answer, which may tell more than clients should know. */
  readonly said: string

  constructor(status: number, said: string, errorCode?: string) {
    super(`the other tracking server answered ${status}`)
    this.status = status
    this.said = said
    this.errorCode = errorCode
  }
}

/** MLflow's code for what the other server answered or its connection did; wording of ours. */
export function httpError(error: unknown, key: string): MlflowError {
  if (error instanceof HttpFailure) return statusError(error, key)
  return (
    transportError(error, key, 'The other tracking server') ??
    internalError(`The other tracking server failed at artifact '${key}'`, { cause: error })
  )
}

function statusError(failure: HttpFailure, key: string): MlflowError {
  const options = { cause: failure }
  switch (failure.status) {
    case 401:
      return new MlflowError('UNAUTHENTICATED', "The other tracking server refused the server's credentials", options)
    case 403:
      return permissionDenied(`The other tracking server refused access to artifact '${key}'`, options)
    case 404:
      return noSuchArtifact(key, failure)
    case 400:
    case 413:
    case 414:
      return invalidParameter(`The other tracking server refused artifact '${key}'`, options)
    case 408:
    case 504:
      return deadlineExceeded('The other tracking server took too long', options)
    case 429:
    case 502:
    case 503:
      return temporarilyUnavailable('The other tracking server is busy', options)
    case 507:
      return temporarilyUnavailable('The artifact store of the other tracking server is full', options)
    default:
      return internalError(`The other tracking server failed at artifact '${key}' (${failure.status})`, options)
  }
}
