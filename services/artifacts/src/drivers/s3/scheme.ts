import type { S3Client } from '@aws-sdk/client-s3'
import type { Scheme } from '../../driver.ts'
import type { S3Config } from './config.ts'
import { parseS3Uri } from './location.ts'

/** One client for all buckets. The SDK is loaded with the first of them: it costs 30 MiB and 200 ms that a local server saves. */
export function openS3Scheme(config: S3Config): Scheme {
  let opening: Promise<S3Client> | undefined
  const connect = async () => (await import('./client.ts')).createS3Client(config)
  return {
    async open(root) {
      const { bucket, prefix } = parseS3Uri(root)
      opening ??= connect()
      const [{ S3Driver }, client] = await Promise.all([import('./driver.ts'), opening])
      return new S3Driver({ client, bucket, prefix, config })
    },
    async [Symbol.asyncDispose]() {
      ;(await opening)?.destroy()
    },
  }
}
