import type { S3Client } from '@aws-sdk/client-s3'

/** Name of the error of a call that the store left without an answer for as long as is allowed. */
export const SILENT_STORE = 'SilentStore'

export const silence = (): Error => Object.assign(new Error('the store did not answer in time'), { name: SILENT_STORE })

/**
 * Makes a call end when its time is over: the SDK would send it again, and again, each time with the whole time anew. Also gives
 * a lost connection its own name back, since the SDK calls that a timeout too.
 */
export function giveUpOnSilence(client: S3Client): void {
  client.middlewareStack.add(
    next => async args => {
      try {
        return await next(args)
      } catch (error) {
        // Not as its cause, which the SDK would look at, and call again.
        throw isOwnTimeout(error) ? Object.assign(silence(), { reason: error }) : error
      }
    },
    { name: 'giveUpOnSilence', step: 'finalizeRequest', priority: 'low' },
  )
}

function isOwnTimeout(error: unknown): boolean {
  const { name, code } = (error ?? {}) as NodeJS.ErrnoException
  return code === 'ETIMEDOUT' || (name === 'TimeoutError' && code === undefined)
}
