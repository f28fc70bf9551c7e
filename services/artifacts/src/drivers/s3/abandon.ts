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
  if ((await told(location, target)) !== 'unreached') return
  void (async () => {
    let isAbsent = false
    for (let attempt = 0; attempt < ATTEMPTS_MAX && !location.closing?.aborted; attempt++) {
      await sleep(FIRST_DELAY_MS * 2 ** attempt, undefined, { ref: false, signal: location.closing })
      const outcome = await told(location, target)
      // A store that has just started may not know yet what it has: it is asked once more.
      if (outcome === 'forgotten' || (outcome === 'absent' && isAbsent)) return
      isAbsent = outcome === 'absent'
    }
  })().catch(() => undefined)
}

async function told(
  { client, config }: S3Location,
  target: AbortMultipartUploadCommandInput,
): Promise<'forgotten' | 'absent' | 'unreached'> {
  try {
    await client.send(new AbortMultipartUploadCommand(target), { abortSignal: AbortSignal.timeout(config.timeoutMs) })
    return 'forgotten'
  } catch (error) {
    return failureOf(error).code === 'NoSuchUpload' || isMissing(error) ? 'absent' : 'unreached'
  }
}
