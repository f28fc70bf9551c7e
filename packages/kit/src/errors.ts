import { Code, ConnectError } from '@connectrpc/connect'
import { ErrorDetailSchema } from '@millrace/proto/millrace/errors/v1/errors_pb'

/** MLflow's error codes that Millrace answers with, each with the HTTP status of MLflow's REST API and the RPC code. */
const CODES = {
  INVALID_PARAMETER_VALUE: [400, Code.InvalidArgument],
  BAD_REQUEST: [400, Code.InvalidArgument],
  RESOURCE_ALREADY_EXISTS: [400, Code.AlreadyExists],
  UNAUTHENTICATED: [401, Code.Unauthenticated],
  PERMISSION_DENIED: [403, Code.PermissionDenied],
  RESOURCE_DOES_NOT_EXIST: [404, Code.NotFound],
  ENDPOINT_NOT_FOUND: [404, Code.Unimplemented],
  RESOURCE_CONFLICT: [409, Code.Aborted],
  REQUEST_LIMIT_EXCEEDED: [429, Code.ResourceExhausted],
  RESOURCE_EXHAUSTED: [429, Code.ResourceExhausted],
  CANCELLED: [499, Code.Canceled],
  INTERNAL_ERROR: [500, Code.Internal],
  INVALID_STATE: [500, Code.FailedPrecondition],
  FEATURE_DISABLED: [500, Code.FailedPrecondition],
  NOT_IMPLEMENTED: [501, Code.Unimplemented],
  TEMPORARILY_UNAVAILABLE: [503, Code.Unavailable],
  DEADLINE_EXCEEDED: [504, Code.DeadlineExceeded],
} as const satisfies Record<string, readonly [number, Code]>

export type ErrorCode = keyof typeof CODES

interface ErrorOptions {
  cause?: unknown
  sqlstate?: string
  errorClass?: string
  retryAfterSeconds?: number
}

/** An error that a client may see: MLflow's error code and wording. On the wire it is a ConnectError with an ErrorDetail. */
export class MlflowError extends ConnectError {
  readonly errorCode: ErrorCode
  readonly httpStatus: number
  readonly sqlstate: string | undefined
  readonly errorClass: string | undefined
  /** After how long the same request may go through; nothing of it was done. */
  readonly retryAfterSeconds: number | undefined

  /** ConnectError's own check goes by name and shape, so it has to keep its name, and would say no to a subclass. */
  static override [Symbol.hasInstance](value: unknown): value is MlflowError {
    return Object.prototype.isPrototypeOf.call(MlflowError.prototype, value as object)
  }

  constructor(errorCode: ErrorCode, message: string, options: ErrorOptions = {}) {
    const [status, code] = CODES[errorCode]
    const value = { errorCode, sqlstate: options.sqlstate, errorClass: options.errorClass }
    super(message, code, undefined, [{ desc: ErrorDetailSchema, value }], options.cause)
    this.errorCode = errorCode
    this.httpStatus = status
    this.sqlstate = options.sqlstate
    this.errorClass = options.errorClass
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

/** The MlflowError that `reason` is or carries as a detail; a bare RPC error by its code; anything else is INTERNAL_ERROR without its text. */
export function toMlflowError(reason: unknown): MlflowError {
  if (reason instanceof MlflowError) return reason
  if (!(reason instanceof ConnectError)) return new MlflowError('INTERNAL_ERROR', 'Internal server error', { cause: reason })
  const detail = reason.findDetails(ErrorDetailSchema)[0]
  if (detail && detail.errorCode in CODES) {
    const { errorCode, sqlstate, errorClass } = detail
    return new MlflowError(errorCode as ErrorCode, reason.rawMessage, { cause: reason, sqlstate, errorClass })
  }
  return new MlflowError(codeOf(reason.code), publicMessage(reason), { cause: reason })
}

/** Whether something failed that no client could help, and no repetition of the same request either. */
export function isServerFault(reason: unknown): boolean {
  const { errorCode, httpStatus, retryAfterSeconds } = toMlflowError(reason)
  return errorCode === 'INTERNAL_ERROR' || (httpStatus > 501 && retryAfterSeconds === undefined)
}

function codeOf(code: Code): ErrorCode {
  switch (code) {
    case Code.Unavailable:
      return 'TEMPORARILY_UNAVAILABLE'
    case Code.DeadlineExceeded:
      return 'DEADLINE_EXCEEDED'
    case Code.Canceled:
      return 'CANCELLED'
    case Code.ResourceExhausted:
      return 'RESOURCE_EXHAUSTED'
    case Code.Unimplemented:
      return 'NOT_IMPLEMENTED'
    case Code.InvalidArgument:
      return 'INVALID_PARAMETER_VALUE'
    default:
      return 'INTERNAL_ERROR'
  }
}

function publicMessage(error: ConnectError): string {
  switch (error.code) {
    case Code.Unavailable:
      return 'A part of the server is not reachable'
    case Code.DeadlineExceeded:
      return 'The request took too long'
    case Code.Canceled:
      return 'The request was cancelled'
    case Code.ResourceExhausted:
      return 'A message is too large'
    case Code.Unimplemented:
    case Code.InvalidArgument:
      return error.rawMessage
    default:
      return 'Internal server error'
  }
}

const factory = (code: ErrorCode) => (message: string, options?: ErrorOptions) => new MlflowError(code, message, options)

export const invalidParameter = factory('INVALID_PARAMETER_VALUE')
export const badRequest = factory('BAD_REQUEST')
export const doesNotExist = factory('RESOURCE_DOES_NOT_EXIST')
export const alreadyExists = factory('RESOURCE_ALREADY_EXISTS')
export const invalidState = factory('INVALID_STATE')
export const internalError = factory('INTERNAL_ERROR')
export const notImplemented = factory('NOT_IMPLEMENTED')
export const temporarilyUnavailable = factory('TEMPORARILY_UNAVAILABLE')
export const deadlineExceeded = factory('DEADLINE_EXCEEDED')
export const permissionDenied = factory('PERMISSION_DENIED')
export const resourceExhausted = factory('RESOURCE_EXHAUSTED')
export const cancelled = factory('CANCELLED')
