import {
  cancelled,
  deadlineExceeded,
  internalError,
  invalidParameter,
  MlflowError,
  permissionDenied,
  temporarilyUnavailable,
} from '@millrace/kit/errors'
import { storeIsUntrusted } from '../../errors.ts'
import { codeOf, isUntrusted } from '../system-errors.ts'

/** The code of a server's refusal (RFC 959 section 4.2); undefined for everything else. */
export function replyOf(error: unknown): number | undefined {
  return error instanceof Error && error.name === 'FTPError' && 'code' in error && typeof error.code === 'number' ? error.code : undefined
}

/**
 * Whether a refusal says no more than that there is nothing at a path. FTP has one code for a missing file and for one that may not be
 * accessed; some servers tell which in words.
 */
export function isAbsent(error: unknown): boolean {
  const code = replyOf(error)
  return (code === 550 || code === 553 || (code === 450 && saysAbsent(error))) && !isDenied(error)
}

const saysAbsent = (error: unknown) => error instanceof Error && /no such|not found|no files|not exist/i.test(error.message)

/** Whether a command was refused that may succeed in a moment, by the same connection. */
export function isBusy(error: unknown): boolean {
  return replyOf(error) === 450 && !saysAbsent(error)
}

/** Whether a server that is being connected to has enough users. Some say so as if they refused the password. */
export function isCrowded(error: unknown): boolean {
  const code = replyOf(error)
  return code === 421 || (code === 530 && error instanceof Error && /too many|maximum/i.test(error.message))
}

function isDenied(error: unknown): boolean {
  return (
    error instanceof Error && replyOf(error) !== undefined && /permission|denied|not allowed|not enough privileges/i.test(error.message)
  )
}

/** Whether the connection is gone, rather than a command refused. */
export function isGone(error: unknown): boolean {
  if (error instanceof MlflowError) return false
  const code = replyOf(error)
  return code === undefined || code === 421
}

/** MLflow's code for what the server replied or its connection did; wording of ours, since the server's may quote its own paths. */
export function ftpError(error: unknown, key: string): MlflowError {
  if (error instanceof MlflowError) return error
  const options = { cause: error }
  const reply = replyOf(error)
  if (reply !== undefined) return replyError(error, reply, key)
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : ''
  if (code === 'ETIMEDOUT' || /^Timeout/.test(message)) return deadlineExceeded('The artifact store took too long', options)
  if (code === 'ABORT_ERR') return cancelled(`The transfer of artifact '${key}' was cut off`, options)
  if (isUntrusted(error)) return storeIsUntrusted(code, error)
  if (code !== '' || /clos|FIN|disconnected/i.test(message)) return temporarilyUnavailable('The artifact store is not reachable', options)
  return internalError(`The artifact store failed at artifact '${key}'`, options)
}

function replyError(error: unknown, reply: number, key: string): MlflowError {
  const options = { cause: error }
  switch (reply) {
    case 430:
    case 530:
    case 532:
      return new MlflowError('UNAUTHENTICATED', "The artifact store refused the server's credentials", options)
    case 421:
    case 425:
    case 426:
    case 434:
    case 450:
      return temporarilyUnavailable('The artifact store is busy', options)
    case 451:
    case 452:
    case 552:
      return temporarilyUnavailable('The artifact store is full or failed to write', options)
    case 431:
    case 502:
    case 504:
    case 522:
    case 533:
    case 534:
    case 536:
      return internalError(`The artifact store lacks a command or the protection that is needed (${reply})`, options)
    case 501:
      return invalidParameter(`The artifact store refused artifact '${key}' (${reply})`, options)
    case 550:
    case 553:
      return permissionDenied(`The artifact store refused access to artifact '${key}' (${reply})`, options)
    default:
      return internalError(`The artifact store failed at artifact '${key}' (${reply})`, options)
  }
}
