import { createHash } from 'node:crypto'
import {
  cancelled,
  deadlineExceeded,
  internalError,
  invalidParameter,
  MlflowError,
  permissionDenied,
  temporarilyUnavailable,
} from '@millrace/kit/errors'
import { fileInTheWay, folderInTheWay, noSuchArtifact, storeIsFull } from '../../errors.ts'
import { codeOf } from '../system-errors.ts'

/** Codes of SSH_FXP_STATUS: draft-ietf-secsh-filexfer-02 section 7, those above 8 of -13 section 9.1, which some servers send too. */
export const STATUS = {
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  noConnection: 6,
  connectionLost: 7,
  noSuchPath: 10,
  alreadyExists: 11,
  writeProtected: 12,
  noSpace: 14,
  quotaExceeded: 15,
  folderNotEmpty: 18,
  notAFolder: 19,
  invalidName: 20,
  linkLoop: 21,
  isAFolder: 24,
} as const

/** A connection that can't be used any more. */
export class LostSession extends Error {
  override readonly name = 'LostSession'
  readonly reason: MlflowError

  constructor(reason: MlflowError) {
    super('the connection was lost', { cause: reason })
    this.reason = reason
  }

  /** Whether another connection could do better; a server that is silent keeps its silence. */
  get worthRepeating(): boolean {
    return this.reason.errorCode === 'TEMPORARILY_UNAVAILABLE'
  }
}

export const unreachable = (cause?: unknown): MlflowError => temporarilyUnavailable('The artifact store is not reachable', { cause })
export const tooSlow = (cause?: unknown): MlflowError => deadlineExceeded('The artifact store took too long', { cause })
export const tooManyCalls = (): MlflowError => temporarilyUnavailable('Too many calls are waiting for a connection to the artifact store')

export const unauthenticated = (message: string, cause?: unknown): MlflowError => new MlflowError('UNAUTHENTICATED', message, { cause })

const HOST_KEY_ADVICE = {
  unknown: 'is not in a known_hosts file of the server. Add it, for example with ssh-keyscan, once it is known to be right',
  changed: 'is not the one that a known_hosts file of the server holds for it: somebody may be listening in, or the host has a new key',
  revoked: 'is revoked in a known_hosts file of the server',
}

/** @param key as it goes over the wire. */
export function refusedHostKey(host: string, port: number, verdict: keyof typeof HOST_KEY_ADVICE, key: Buffer): MlflowError {
  const fingerprint = createHash('sha256').update(key).digest('base64').replace(/=+$/, '')
  return permissionDenied(`The host key of [${host}]:${port} (SHA256:${fingerprint}) ${HOST_KEY_ADVICE[verdict]}`)
}

/** The status that the server answered a request with. */
export function statusOf(error: unknown): number | undefined {
  // An abort has numbers of its own.
  if (error instanceof DOMException) return undefined
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined
}

/** Whether a path leads nowhere; OpenSSH's server also says so when one of its folders is a file. */
export function isMissing(error: unknown): boolean {
  const status = statusOf(error)
  return status === STATUS.noSuchFile || status === STATUS.noSuchPath || status === STATUS.notAFolder
}

/** Whether the server took a connection and let go of it before it was of use, as one does that has enough of them. */
export function wasDropped(error: unknown): boolean {
  if (error instanceof MlflowError) return error.errorCode === 'TEMPORARILY_UNAVAILABLE'
  const { level } = (error ?? {}) as { level?: unknown }
  return level === 'protocol' || codeOf(error) === 'ECONNRESET' || isCrowded(error)
}

/** A connection that may have no channel, or no further one (MaxSessions): RFC 4254 section 5.1, in ssh2's words. */
function isCrowded(error: unknown): boolean {
  return error instanceof Error && /channel open failure/i.test(error.message)
}

/** What ended a connection, or kept it from being made. */
export function connectionError(error: unknown): MlflowError {
  if (error instanceof MlflowError) return error
  if (isCrowded(error)) return temporarilyUnavailable('The artifact store takes no more sessions', { cause: error })
  const { level, code } = (error ?? {}) as { level?: unknown; code?: unknown }
  if (level === 'client-authentication') return unauthenticated("The artifact store refused the server's credentials", error)
  if (level === 'client-timeout' || code === 'ETIMEDOUT') return tooSlow(error)
  if (level === 'handshake')
    return temporarilyUnavailable('The artifact store and the server have no way of encryption in common', { cause: error })
  return unreachable(error)
}

/** What went wrong with the file at `key`, in words of ours: a server's may name its folders. */
export function sftpError(error: unknown, key: string): MlflowError {
  if (error instanceof MlflowError) return error
  if (error instanceof LostSession) return error.reason
  const options = { cause: error }
  switch (statusOf(error)) {
    case STATUS.noSuchFile:
    case STATUS.noSuchPath:
      return noSuchArtifact(key, error)
    case STATUS.permissionDenied:
    case STATUS.writeProtected:
      return permissionDenied(`The server may not access artifact '${key}'`, options)
    case STATUS.alreadyExists:
    case STATUS.notAFolder:
      return fileInTheWay(key, error)
    case STATUS.isAFolder:
    case STATUS.folderNotEmpty:
      return folderInTheWay(key, error)
    case STATUS.badMessage:
    case STATUS.invalidName:
    case STATUS.linkLoop:
      return invalidParameter('Invalid path', options)
    case STATUS.noSpace:
    case STATUS.quotaExceeded:
      return storeIsFull(error)
    case STATUS.noConnection:
    case STATUS.connectionLost:
      return unreachable(error)
    default:
      if (error instanceof Error && error.name === 'TimeoutError') return tooSlow(error)
      if (error instanceof Error && error.name === 'AbortError') return cancelled(`The transfer of artifact '${key}' was cut off`, options)
      return internalError(`The artifact store failed at artifact '${key}'`, options)
  }
}
