import { setTimeout as sleep } from 'node:timers/promises'
import { AbortMultipartUploadCommand, type AbortMultipartUploadCommandInput } from '@aws-sdk/client-s3'
import { failureOf, isMissing } from './errors.ts'
import type { S3Location } from './location.ts'

const FIRST_DELAY_MS = 1_000
/** With doubled delays the store has 17 minutes to come back. */
const ATTEMPTS_MAX = 10

/**
 * Makes the store forget an upload that failed. A store that can't be told now is told later, without anybody waiting for it: its
 * parts are not to be seen, but cost space.
 */
export async function abandon(location: S3Location, target: AbortMultipartUploadCommandInput): Promise<void> {
  if (await isForgotten(location, target)) return
  void (async () => {
    for (let attempt = 0; attempt < ATTEMPTS_MAX && !location.closing?.aborted; attempt++) {
      await sleep(FIRST_DELAY_MS * 2 ** attempt, undefined, { ref: false, signal: location.closing })
      if (await isForgotten(location, target)) return
    }
  })().catch(() => undefined)
}

async function isForgotten({ client, config }: S3Location, target: AbortMultipartUploadCommandInput): Promise<boolean> {
  try {
    await client.send(new AbortMultipartUploadCommand(target), { abortSignal: AbortSignal.timeout(config.timeoutMs) })
    return true
  } catch (error) {
    return failureOf(error).code === 'NoSuchUpload' || isMissing(error)
  }
}
