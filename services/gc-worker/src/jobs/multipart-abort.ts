import { toMlflowError } from '@millrace/kit/errors'
import type { Logger } from '@millrace/kit/logger'
import { artifactsCall, type Clients, jobCall } from '../dependencies.ts'
import type { JobHandler } from '../queues/engine.ts'
import type { UploadStore } from '../store/uploads.ts'
import { backoffMs, type Timings } from '../timings.ts'
import { refusalOf } from './invalid-uploads.ts'
import { isPassing } from './passing.ts'

const ATTEMPTS_MAX = 10

/** Discards the parts of one upload. One that can't be aborted is FAILED, and is tried again when it has been that for too long. */
export function multipartAbort(uploads: UploadStore, artifacts: Clients['artifacts'], timings: Timings, log: Logger): JobHandler {
  return async ({ job }) => {
    const upload = await uploads.forJob(job.id)
    if (upload?.state !== 'ABORTING') return { ended: upload?.state === 'FAILED' ? 'FAILED' : 'SUCCEEDED' }
    const { uri, uploadId } = upload
    const invalid = refusalOf(upload)
    if (invalid) {
      await uploads.endAbort(job.id, { state: 'ABORTED', errorCode: invalid.errorCode, error: invalid.rawMessage })
      return { ended: 'FAILED' }
    }
    try {
      await artifacts.abortMultipart({ uri, uploadId }, artifactsCall(jobCall(job.id)))
    } catch (reason) {
      const error = toMlflowError(reason)
      log.warn('multipart upload could not be aborted', { jobId: job.id, uri, attempt: job.attempts, error: reason })
      if (isPassing(error) && job.attempts < ATTEMPTS_MAX) return { againAt: Date.now() + backoffMs(timings.retryMs, job.attempts) }
      await uploads.endAbort(job.id, { state: 'FAILED', errorCode: error.errorCode, error: error.rawMessage })
      return { ended: 'FAILED' }
    }
    await uploads.endAbort(job.id, { state: 'ABORTED', errorCode: '', error: '' })
    return { ended: 'SUCCEEDED' }
  }
}
