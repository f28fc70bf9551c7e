import { toMlflowError } from '@millrace/kit/errors'
import type { Logger } from '@millrace/kit/logger'
import { type Clients, completionCall, jobCall } from '../dependencies.ts'
import type { JobHandler } from '../queues/engine.ts'
import type { UploadStore } from '../store/uploads.ts'
import { backoffMs, type Timings } from '../timings.ts'
import { refusalOf } from './invalid-uploads.ts'
import { isPassing } from './passing.ts'

const ATTEMPTS_MAX = 10

/** Joins the parts of one upload. The store takes a repetition after success for success, so a crash in between does no harm. */
export function multipartCompletion(uploads: UploadStore, artifacts: Clients['artifacts'], timings: Timings, log: Logger): JobHandler {
  return async ({ job }) => {
    const upload = await uploads.forJob(job.id)
    if (upload?.state !== 'COMPLETING') return { ended: upload?.state === 'FAILED' ? 'FAILED' : 'SUCCEEDED' }
    const { uri, uploadId, parts } = upload
    const invalid = refusalOf(upload)
    if (invalid) {
      // Nothing to be aborted later either.
      await uploads.endCompletion(job.id, { state: 'ABORTED', errorCode: invalid.errorCode, error: invalid.rawMessage })
      return { ended: 'FAILED' }
    }
    try {
      await artifacts.completeMultipart({ uri, uploadId, parts }, completionCall(jobCall(job.id)))
    } catch (reason) {
      const error = toMlflowError(reason)
      log.warn('multipart upload could not be completed', { jobId: job.id, uri, attempt: job.attempts, error: reason })
      if (isPassing(error) && job.attempts < ATTEMPTS_MAX) return { againAt: Date.now() + backoffMs(timings.retryMs, job.attempts) }
      await uploads.endCompletion(job.id, { state: 'FAILED', errorCode: error.errorCode, error: error.rawMessage })
      return { ended: 'FAILED' }
    }
    await uploads.endCompletion(job.id, { state: 'COMPLETED', errorCode: '', error: '' })
    return { ended: 'SUCCEEDED' }
  }
}
