import type { ErrorCode, MlflowError } from '@millrace/kit/errors'

const PASSING: readonly ErrorCode[] = [
  'TEMPORARILY_UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'CANCELLED',
  'REQUEST_LIMIT_EXCEEDED',
  'RESOURCE_EXHAUSTED',
]

/** Whether the same call may succeed a little later. */
export function isPassing(error: MlflowError): boolean {
  return PASSING.includes(error.errorCode)
}
