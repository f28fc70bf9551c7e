import type { Scheme } from '../../driver.ts'
import { HeldBytes } from '../../held-bytes.ts'
import type { GcsClient } from './client.ts'
import type { GcsConfig } from './config.ts'
import type { Credentials } from './credentials.ts'
import { gcsError } from './errors.ts'
import { parseGsUri } from './location.ts'

interface Opened {
  client: GcsClient
  credentials: Credentials
}

/** One client for all buckets. Google's library for credentials is loaded with the first of them. */
export function openGcsScheme(config: GcsConfig, held = new HeldBytes()): Scheme {
  let opening: Promise<Opened> | undefined
  const connect = async (): Promise<Opened> => {
    const [{ GcsClient }, { openCredentials }] = await Promise.all([import('./client.ts'), import('./credentials.ts')])
    const credentials = await openCredentials(config)
    return { client: new GcsClient(config, credentials), credentials }
  }
  return {
    async open(root) {
      const { bucket, prefix } = parseGsUri(root)
      opening ??= connect()
      try {
        const [{ GcsDriver }, { client, credentials }] = await Promise.all([import('./driver.ts'), opening])
        return new GcsDriver({ client, config, bucket, prefix, held, signer: credentials.signer })
      } catch (error) {
        // The next one asks for credentials again.
        opening = undefined
        throw gcsError(error, '')
      }
    },
    async [Symbol.asyncDispose]() {
      const opened = await opening?.catch(() => undefined)
      opened?.client[Symbol.dispose]()
    },
  }
}
