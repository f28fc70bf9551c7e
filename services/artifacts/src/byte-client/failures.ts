import type { IncomingMessage } from 'node:http'
import { cancelled, deadlineExceeded, internalError, MlflowError, temporarilyUnavailable, toMlflowError } from '@millrace/kit/errors'
import { wasNotSent } from '@millrace/kit/replica-failures'

const ERROR_BYTES_MAX = 64 * 1024
const GONE = new Set(['ECONNRESET', 'EPIPE', 'EHOSTDOWN'])

/** The error that an artifacts process answered with. */
export async function readError(response: IncomingMessage): Promise<MlflowError> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > ERROR_BYTES_MAX) break
    chunks.push(chunk)
  }
  try {
    const { error_code, message, error_class } = JSON.parse(Buffer.concat(chunks).toString())
    const retryAfter = response.headers['retry-after']
    return new MlflowError(error_code, message, { errorClass: error_class, retryAfterSeconds: retryAfter ? Number(retryAfter) : undefined })
  } catch (error) {
    return internalError('Internal server error', { cause: error })
  }
}

/** Whether the process has too much to do, and did nothing. */
export const hadNoRoom = (error: unknown): boolean => error instanceof MlflowError && error.retryAfterSeconds !== undefined

/** Whether the connection was lost in the middle. */
export function wentAway(error: unknown): boolean {
  const cause = error instanceof MlflowError ? error.cause : undefined
  return cause instanceof Error && 'code' in cause && GONE.has(String(cause.code))
}

/** What a caller is told of a failed transfer between processes. */
export function failureOf(error: unknown): MlflowError {
  if (wasNotSent(error)) return temporarilyUnavailable('The artifacts service cannot be reached', { cause: error })
  if (error instanceof Error && 'code' in error) {
    if (error.code === 'ABORT_ERR') return cancelled('The transfer was cut off', { cause: error })
    if (error.code === 'ETIMEDOUT') return deadlineExceeded('The artifacts service took too long', { cause: error })
    if (GONE.has(String(error.code))) return temporarilyUnavailable('The artifacts service went away', { cause: error })
  }
  return toMlflowError(error)
}
