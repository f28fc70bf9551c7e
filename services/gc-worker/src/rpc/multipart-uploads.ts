import { randomUUID } from 'node:crypto'
import { callOf } from '@millrace/kit/call-context'
import { doesNotExist, type ErrorCode, invalidParameter, MlflowError } from '@millrace/kit/errors'
import { type Route, route } from '@millrace/kit/rpc'
import { checkSentParts, checkUpload, UPLOAD_PARTS_MAX } from '@millrace/kit/upload-limits'
import { MultipartUploadService, UploadState } from '@millrace/proto/millrace/jobs/v1/multipart_uploads_pb'
import { type Context, POLL_MS } from '../context.ts'
import type { Upload } from '../store/uploads.ts'
import { checkPageSize, parsePageToken, toPageToken } from './pages.ts'

const WAIT_MS_MAX = 10 * 60_000
/** How long an abort waits for a completion that is under way, and then for its own end; it goes on when its caller has gone. */
const ABORT_WAIT_MS = 10_000

export function multipartUploadRoutes(context: Context): Route[] {
  const { uploads, log, ring } = context
  return [
    route(MultipartUploadService, {
      async recordUpload({ uri, uploadId, numParts }) {
        checkUpload({ uri, uploadId })
        if (numParts < 0 || numParts > UPLOAD_PARTS_MAX) throw invalidParameter(`num_parts must be from 0 to ${UPLOAD_PARTS_MAX}`)
        await uploads.record(uri, uploadId, numParts)
        return {}
      },

      async completeUpload({ uri, uploadId, parts, waitMs }, { signal, values }) {
        checkUpload({ uri, uploadId })
        checkSentParts(parts)
        const sent = parts.map(({ partNumber, etag, url }) => ({ partNumber, etag, url }))
        const upload = await uploads.record(uri, uploadId, parts.length)
        if (upload.state === 'OPEN' || upload.state === 'FAILED') {
          const jobId = randomUUID()
          if (await uploads.startCompletion(upload.id, jobId, sent)) {
            log.debug('a completion was asked for', { requestId: callOf({ signal, values }).requestId, jobId })
            await ring(jobId)
          }
        }
        const { state, errorCode, error } = await untilEnded(context, upload, Math.min(waitMs, WAIT_MS_MAX), signal)
        switch (state) {
          case 'COMPLETED':
            return { state: UploadState.COMPLETED }
          case 'FAILED':
            throw new MlflowError(errorCode as ErrorCode, error)
          case 'ABORTING':
          case 'ABORTED':
            throw doesNotExist(`Multipart upload '${uploadId}' was aborted`)
          case 'OPEN':
          case 'COMPLETING':
            return { state: UploadState.COMPLETING }
          default:
            return state satisfies never
        }
      },

      async abortUpload({ uri, uploadId }, { signal, values }) {
        checkUpload({ uri, uploadId })
        const upload = await uploads.record(uri, uploadId, 0)
        const { state } = await untilEnded(context, upload, ABORT_WAIT_MS, signal)
        if (state === 'COMPLETED') return {}
        const jobId = randomUUID()
        if (await uploads.startAbort(upload.id, jobId)) {
          log.debug('an abort was asked for', { requestId: callOf({ signal, values }).requestId, jobId })
          await ring(jobId)
        }
        const ended = await untilEnded(context, upload, ABORT_WAIT_MS, signal)
        if (ended.state === 'COMPLETING') throw new MlflowError('RESOURCE_CONFLICT', `Multipart upload '${uploadId}' is being completed`)
        if (ended.state === 'FAILED') throw new MlflowError(ended.errorCode as ErrorCode, ended.error)
        return {}
      },

      async listMultipartUploads(request) {
        const limit = checkPageSize(request.pageSize)
        const [time, id] = parsePageToken(request.pageToken, /^\d{1,15}$/, /^\w{1,64}$/) ?? []
        const page = await uploads.list(limit, time && id ? { createdTime: BigInt(time), id } : undefined)
        const last = page.length === limit ? page.at(-1) : undefined
        const nextPageToken = last && toPageToken([String(last.createdTime), last.id])
        return { uploads: page.map(uploadMessage), nextPageToken }
      },
    }),
  ]
}

function uploadMessage({ uri, state, numParts, createdTime, updatedTime, errorCode, error }: Upload) {
  const failure = errorCode === '' ? {} : { errorCode, error }
  return { uri, state: UploadState[state], numParts, createdTime, updatedTime, ...failure }
}

/** The upload once it is neither being completed nor aborted any more, or as it is when the time is over or the caller has gone. */
async function untilEnded({ uploads, notifier }: Context, upload: Upload, waitMs: number, signal: AbortSignal): Promise<Upload> {
  const deadline = Date.now() + waitMs
  for (;;) {
    const now = (await uploads.get(upload.uri, upload.uploadId)) ?? upload
    const left = deadline - Date.now()
    if ((now.state !== 'COMPLETING' && now.state !== 'ABORTING') || now.jobId === null || left <= 0 || signal.aborted) return now
    await notifier.wait(now.jobId, Math.min(left, POLL_MS), signal)
  }
}
