import type { IncomingMessage } from 'node:http'
import { posix } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type CallOptions, type Client, createClient, type ServiceImpl } from '@connectrpc/connect'
import { artifactPlace } from '@millrace/kit/artifact-place'
import { type CallContext, callOf, callOptions, ownCallOptions } from '@millrace/kit/call-context'
import { checkText } from '@millrace/kit/checked-text'
import { deadlineExceeded, internalError, invalidParameter, notImplemented, temporarilyUnavailable } from '@millrace/kit/errors'
import { checkSentParts, checkUploadId, UPLOAD_PARTS_MAX, UPLOAD_PATH_BYTES_MAX } from '@millrace/kit/upload-limits'
import type { FileInfo } from '@millrace/proto/millrace/artifacts/v1/files_pb'
import type { ArtifactProxyService } from '@millrace/proto/millrace/artifacts/v1/proxy_pb'
import { ArtifactStoreService, PresignMethod } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { MultipartUploadService, UploadState } from '@millrace/proto/millrace/jobs/v1/multipart_uploads_pb'
import { httpRequest } from '@millrace/rest/http-request'
import { safePath } from '@millrace/rest/safe-path'
import type { GatewayConfig } from '../config.ts'
import type { GatewayContext } from '../context.ts'
import { isReachable, publicUrl } from './public-url.ts'

/** Clients send parts to this path, followed by the upload's id and the part's number, when the store doesn't take them itself. */
export const PART_ROUTE = '/api/2.0/mlflow-artifacts/mpu/part'

/** Less than the 120 s after which MLflow's clients time out. The job continues in any case. */
const COMPLETION_WAIT_MS = 100_000
/** Of the call that waits, beside what it waits for. */
const COMPLETION_TIMEOUT_MS = COMPLETION_WAIT_MS + 20_000
/** A folder can hold very many files. */
const REMOVAL_TIMEOUT_MS = 15 * 60_000
const START_TIMEOUT_MS = 60_000
const ABORT_TIMEOUT_MS = 30_000
const ABORT_PAUSES_MS = [1_000, 5_000, 30_000, 120_000]
const PARTS_MAX = BigInt(UPLOAD_PARTS_MAX)

/** The artifacts destination as clients of the proxy see it. Bytes go through raw routes. */
export function artifactProxy(ctx: GatewayContext): ServiceImpl<typeof ArtifactProxyService> {
  return {
    async listArtifacts({ path }, context) {
      const { files } = await proxy(ctx).list({ uri: proxiedUri(path === undefined ? '' : safePath(path)) }, callOptions(context))
      return { files: files.map(shownSize) }
    },

    async deleteArtifact({ artifactPath = '' }, context) {
      const path = safePath(artifactPath)
      // MLflow can't remove a folder of this name.
      if (/(^|\/)\.$/.test(path)) throw invalidParameter('Invalid path')
      // Goes on when the caller has gone: nothing is removed by half.
      await proxy(ctx).delete({ uri: proxiedUri(path) }, ownCallOptions(REMOVAL_TIMEOUT_MS, callOf(context)))
      return {}
    },

    async createMultipartUpload({ artifactPath = '', path = '', numParts = 0n }, context) {
      const { signal, values } = context
      const uri = uploadUri(artifactPath, path)
      const store = await multipartStore(ctx, callOptions(context), values.get(httpRequest))
      if (numParts < 0n || numParts > PARTS_MAX) {
        throw invalidParameter(`num_parts must be between 0 and ${PARTS_MAX} (got ${numParts}).`)
      }
      const count = Number(numParts)
      const base = publicUrl(ctx.config, values.get(httpRequest))
      // Without the caller's signal: what has begun is recorded, or aborted, when the caller has gone.
      const { uploadId, parts, received } = await store.startMultipart(
        { uri, numParts: count },
        ownCallOptions(START_TIMEOUT_MS, callOf(context)),
      )
      try {
        signal.throwIfAborted()
        await jobs(ctx)?.recordUpload({ uri, uploadId, numParts: count }, callOptions(context))
      } catch (error) {
        await abandon(store, { uri, uploadId }, callOf(context))
        throw error
      }
      const credentials = parts.map(({ partNumber, url, headers }) => ({
        partNumber: BigInt(partNumber),
        url: received ? `${base}${PART_ROUTE}/${encodeURIComponent(uploadId)}/${partNumber}` : url,
        headers,
      }))
      return { uploadId, credentials }
    },

    async completeMultipartUpload({ artifactPath = '', path = '', uploadId = '', parts: given }, context) {
      const options = callOptions(context)
      const uri = uploadUri(artifactPath, path)
      const store = await multipartStore(ctx, options)
      const parts = given.map(({ partNumber = 0n, etag = '', url = '' }) => ({ partNumber: checkPartNumber(partNumber), etag, url }))
      checkUploadId(uploadId)
      checkSentParts(parts)
      const client = jobs(ctx)
      if (!client) {
        await store.completeMultipart({ uri, uploadId, parts }, options)
        return {}
      }
      // Without the caller's signal: what was asked for is finished when the caller has gone.
      const own = ownCallOptions(COMPLETION_TIMEOUT_MS, callOf(context))
      const { state } = await client.completeUpload({ uri, uploadId, parts, waitMs: COMPLETION_WAIT_MS }, own)
      if (state === UploadState.COMPLETED) return {}
      if (state === UploadState.COMPLETING) throw deadlineExceeded('The upload is still being completed; asking again is safe')
      throw internalError('The upload could not be completed')
    },

    async abortMultipartUpload({ artifactPath = '', path = '', uploadId = '' }, context) {
      const options = callOptions(context)
      const uri = uploadUri(artifactPath, path)
      checkUploadId(uploadId)
      const store = await multipartStore(ctx, options)
      await (jobs(ctx)?.abortUpload({ uri, uploadId }, options) ?? store.abortMultipart({ uri, uploadId }, options))
      return {}
    },

    async getPresignedDownloadUrl({ artifactPath = '' }, context) {
      const options = callOptions(context)
      const uri = proxiedUri(safePath(artifactPath))
      const { presignedDownload } = await proxy(ctx).capabilities({ uri: '' }, options)
      if (!presignedDownload) throw notImplemented('Multipart download is not supported for the current artifact repository')
      const { url, headers, size } = await proxy(ctx).presign({ uri, method: PresignMethod.GET }, options)
      return { url, headers, fileSize: size }
    },
  }
}

/** Whether clients may upload in parts. With a request: whether its client may start an upload. */
export function takesParts(
  config: GatewayConfig,
  able: { multipart: boolean; receivedParts: boolean },
  request: IncomingMessage | undefined,
): boolean {
  return able.multipart && (!able.receivedParts || (config.receiveParts && isReachable(config, request)))
}

/** MLflow omits the size of empty files, like that of folders. */
export function shownSize({ path, isDir, fileSize }: FileInfo): Pick<FileInfo, 'path' | 'isDir' | 'fileSize'> {
  return { path, isDir, fileSize: fileSize || undefined }
}

export function storeClient({ artifacts }: GatewayContext): Client<typeof ArtifactStoreService> {
  if (!artifacts) throw temporarilyUnavailable('The artifacts service is not there')
  return createClient(ArtifactStoreService, artifacts)
}

function proxy(ctx: GatewayContext): Client<typeof ArtifactStoreService> {
  if (!ctx.config.serveArtifacts) throw temporarilyUnavailable('Artifact serving is disabled')
  return storeClient(ctx)
}

const jobs = ({ jobs: transport }: GatewayContext) => transport && createClient(MultipartUploadService, transport)

async function multipartStore(
  ctx: GatewayContext,
  options: CallOptions,
  request?: IncomingMessage,
): Promise<Client<typeof ArtifactStoreService>> {
  const store = proxy(ctx)
  const able = await store.capabilities({ uri: '' }, options)
  if (!takesParts(ctx.config, able, request)) throw notImplemented('Multipart upload is not supported for the current artifact repository')
  return store
}

export const proxiedUri = (path: string): string => artifactPlace('mlflow-artifacts:/', path)

/** The file's name comes from the body, its folder from the URL. */
function uploadUri(folder: string, path: string): string {
  checkText('path', path, UPLOAD_PATH_BYTES_MAX, 0)
  const name = posix.basename(path)
  if (name === '' || name === '.' || name === '..') throw invalidParameter('Invalid path')
  const whole = posix.join(safePath(folder), name)
  checkText('path', whole, UPLOAD_PATH_BYTES_MAX)
  return proxiedUri(whole)
}

/**
 * Aborts an upload that nobody will ever ask for: its parts' folder would stay for ever. The first try is waited for; the others, while
 * the store is away for a moment, go on by themselves.
 */
async function abandon(
  store: Client<typeof ArtifactStoreService>,
  upload: { uri: string; uploadId: string },
  call: CallContext,
): Promise<void> {
  const abort = () => store.abortMultipart(upload, ownCallOptions(ABORT_TIMEOUT_MS, call))
  const again = async () => {
    for (const pause of ABORT_PAUSES_MS) {
      await sleep(pause, undefined, { ref: false })
      const isDone = await abort().then(
        () => true,
        () => false,
      )
      if (isDone) return
    }
  }
  await abort().catch(() => void again())
}

function checkPartNumber(number: bigint): number {
  if (number >= 1n && number <= PARTS_MAX) return Number(number)
  throw invalidParameter(`part_number must be between 1 and ${PARTS_MAX} (got ${number}).`)
}
