import { badRequest, MlflowError, temporarilyUnavailable } from '@millrace/kit/errors'

/**
 * What a database's refusal means. `again`: the transaction may succeed when it is run again (serialization failure, deadlock, a lock held
 * by another process). `silent`: a server took a statement and says nothing, not even that it took too long. `full`: no room for a write.
 */
export type FailureKind = 'unique' | 'foreign key' | 'check' | 'misfit' | 'again' | 'full' | 'silent' | 'unavailable'

/** The cause of an MlflowError that a database's refusal became. */
class DatabaseFailure extends Error {
  readonly kind: FailureKind

  constructor(kind: FailureKind, cause: Error) {
    super(cause.message, { cause })
    this.kind = kind
  }
}

/** MLflow answers BAD_REQUEST with the text of the SQL; the code is the same here, the words are ours. */
export function translateError(reason: unknown, failureOf: (reason: Error) => FailureKind | undefined): unknown {
  if (reason instanceof MlflowError || !(reason instanceof Error)) return reason
  const kind = failureOf(reason)
  if (!kind) return reason
  const cause = new DatabaseFailure(kind, reason)
  switch (kind) {
    case 'unique':
      return badRequest('The request conflicts with a record that exists already', { cause })
    case 'foreign key':
      return badRequest('The request refers to a record that does not exist', { cause })
    case 'check':
      return badRequest('A value is not allowed by the database', { cause })
    case 'misfit':
      return badRequest('A value does not fit the database', { cause })
    case 'again':
    case 'full':
    case 'silent':
    case 'unavailable':
      return temporarilyUnavailable('The tracking database is not available, try again', { cause })
    default:
      return kind satisfies never
  }
}

/** Of an error that `translateError` made. */
function kindOf(reason: unknown): FailureKind | undefined {
  return reason instanceof MlflowError && reason.cause instanceof DatabaseFailure ? reason.cause.kind : undefined
}

export const isSilence = (reason: unknown): boolean => kindOf(reason) === 'silent'
export const isDiskFull = (reason: unknown): boolean => kindOf(reason) === 'full'
export const isUniqueViolation = (reason: unknown): boolean => kindOf(reason) === 'unique'
export const isRetryable = (reason: unknown): boolean => kindOf(reason) === 'again'

/** The database could not be reached or did not get to it: trying the parts of a transaction one by one is of no use. */
export function isUnavailable(reason: unknown): boolean {
  return reason instanceof MlflowError && reason.errorCode === 'TEMPORARILY_UNAVAILABLE'
}
