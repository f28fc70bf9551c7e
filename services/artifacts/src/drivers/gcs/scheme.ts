import type { Scheme } from '../../driver.ts'
import { HeldBytes } from '../../held-bytes.ts'
import type { GcsConfig } from './config.ts'
import { gcsError } from './errors.ts'
import { type GcsLocation, parseGsUri } from './location.ts'

type Opened = Pick<GcsLocation, 'client' | 'storage' | 'canSign'>

/** One client for all buckets. The SDK is loaded with the first of them. */
export function openGcsScheme(config: GcsConfig, held = new HeldBytes()): Scheme {
  let opening: Promise<Opened> | undefined
  const connect = async (): Promise<Opened> => {
    const [{ GcsClient }, { openStorage }] = await Promise.all([import('./client.ts'), import('./sdk.ts')])
    const client = await GcsClient.connect(config)
    try {
      const signing = await client.credentials.signing()
      return { client, storage: openStorage(config, client, signing), canSign: signing !== undefined }
    } catch (error) {
      client[Symbol.dispose]()
      throw error
    }
  }
  return {
    async open(root) {
      const { bucket, prefix } = parseGsUri(root)
      opening ??= connect()
      try {
        const [{ GcsDriver }, opened] = await Promise.all([import('./driver.ts'), opening])
        return new GcsDriver({ ...opened, config, bucket, prefix, held })
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
