import type { S3Client } from '@aws-sdk/client-s3'
import type { CredentialSource } from './credentials.ts'
import { BodyTaken, failureOf } from './errors.ts'

/** What stores say of keys that were good before. */
const OUTDATED = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidToken',
  'TokenRefreshRequired',
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
])

/**
 * Makes a call whose keys the store no longer takes once more with new ones, if there are any. Nothing of it was done, so that is safe;
 * a body that was taken is gone, and only the next calls have the new keys.
 */
export function renewOutdated(client: S3Client, credentials: CredentialSource): void {
  client.middlewareStack.add(
    next => async args => {
      const used = await credentials()
      try {
        return await next(args)
      } catch (error) {
        if (!OUTDATED.has(failureOf(error).code)) throw error
        const renewed = await credentials.renew(used).catch(() => used)
        if (error instanceof BodyTaken) throw error
        if (renewed.secretAccessKey === used.secretAccessKey && renewed.sessionToken === used.sessionToken) throw error
        return next(args)
      }
    },
    { name: 'renewOutdated', step: 'initialize', priority: 'high' },
  )
}
