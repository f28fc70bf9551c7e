import { CreateMultipartUploadCommand, type CreateMultipartUploadCommandInput } from '@aws-sdk/client-s3'
import { abandon } from './abandon.ts'
import { partArgs } from './extra-args.ts'
import type { S3Location } from './location.ts'

/** For the answer to a caller that has gone. */
const GRACE_MS = 5_000

/**
 * Begins an upload in parts. A caller that goes away doesn't cut the call off: the store would keep an upload whose name nobody knows.
 * @throws the signal's reason, when the upload that was begun is forgotten again.
 */
export async function beginUpload(location: S3Location, about: CreateMultipartUploadCommandInput, signal?: AbortSignal): Promise<string> {
  signal?.throwIfAborted()
  const beginning = location.client.send(new CreateMultipartUploadCommand(about))
  const forget = async () => {
    const { UploadId } = await beginning
    const { Bucket, Key, ExpectedBucketOwner } = about
    await abandon(location, { Bucket, Key, ExpectedBucketOwner, ...partArgs(location.config.uploadExtraArgs), UploadId })
  }
  const { UploadId = '' } = await withGrace(beginning, signal).catch(error => {
    void forget().catch(() => undefined)
    throw error
  })
  if (signal?.aborted) {
    await forget()
    signal.throwIfAborted()
  }
  return UploadId
}

/** Fails some time after the signal. */
async function withGrace<T>(answer: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return answer
  let timer: NodeJS.Timeout | undefined
  let stop: (() => void) | undefined
  const late = new Promise<never>((_, reject) => {
    stop = () => {
      timer = setTimeout(() => reject(signal.reason), GRACE_MS)
    }
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
    if (stop) signal.removeEventListener('abort', stop)
  }
}
