import { type CallOptions, createClient, type ServiceImpl } from '@connectrpc/connect'
import { artifactPlace } from '@millrace/kit/artifact-place'
import { callOptions } from '@millrace/kit/call-context'
import { doesNotExist, invalidParameter, temporarilyUnavailable } from '@millrace/kit/errors'
import type { RunArtifactService } from '@millrace/proto/millrace/artifacts/v1/run_artifacts_pb'
import { PresignMethod } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { RunService } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { safePath } from '@millrace/rest/safe-path'
import type { GatewayContext } from '../context.ts'
import { storeClient } from './artifact-proxy.ts'
import { isProxied, listBelow, rootScheme } from './artifact-root.ts'
import { modelRoot } from './logged-model-artifacts.ts'

const UPLOAD_EXPIRATION_SECONDS = 900n
const EXPIRATION_SECONDS_MAX = 604_800n

/** Artifacts of runs: the location comes from metadata, the content from the artifacts service. */
export function runArtifacts(ctx: GatewayContext): ServiceImpl<typeof RunArtifactService> {
  return {
    async listRunArtifacts({ runId, runUuid, path: given }, context) {
      const options = callOptions(context)
      const path = given === undefined ? '' : safePath(given)
      const { artifactUri } = await findRun(ctx, runId || runUuid, options)
      return listBelow(ctx, artifactUri, path, options)
    },

    async createPresignedUploadUrl({ runId, modelId, path: given, expiration = UPLOAD_EXPIRATION_SECONDS }, context) {
      if (!runId === !modelId) throw invalidParameter('Exactly one of run_id and model_id must be provided.')
      const options = callOptions(context)
      const path = safePath(given ?? '')
      const root = runId ? (await findRun(ctx, runId, options)).artifactUri : await modelRoot(ctx, modelId ?? '', options)
      refuseProxied(root, 'upload', '')
      const { presignedUpload } = await storeClient(ctx).capabilities({ uri: artifactPlace(root) }, options)
      if (presignedUpload) checkExpiration(expiration)
      const uri = artifactPlace(root, path)
      const { url, headers } = await storeClient(ctx).presign(
        { uri, method: PresignMethod.PUT, expirationSeconds: Number(expiration) },
        options,
      )
      return { presignedUrl: url, headers }
    },

    async createPresignedDownloadUrl({ runId, path: given, expiration }, context) {
      const options = callOptions(context)
      const path = safePath(given ?? '')
      if (expiration !== undefined) checkExpiration(expiration)
      const { artifactUri: root } = await findRun(ctx, runId ?? '', options)
      refuseProxied(root, 'download', 'runs with ')
      const uri = artifactPlace(root, path)
      const { url, headers, size } = await storeClient(ctx).presign(
        { uri, method: PresignMethod.GET, expirationSeconds: Number(expiration ?? 0) },
        options,
      )
      return { presignedUrl: url, headers, fileSize: size }
    },
  }
}

interface FoundRun {
  artifactUri: string
}

/** @throws RESOURCE_DOES_NOT_EXIST for a run that metadata doesn't know. */
export async function findRun({ metadata }: GatewayContext, runId: string | undefined, options: CallOptions): Promise<FoundRun> {
  if (!runId) throw doesNotExist(`Run with id=${runId ?? 'None'} not found`)
  if (!metadata) throw temporarilyUnavailable('The metadata service is not there')
  const { run } = await createClient(RunService, metadata).getRun({ runId }, options)
  return { artifactUri: run?.info?.artifactUri ?? '' }
}

function checkExpiration(seconds: bigint): void {
  if (seconds >= 1n && seconds <= EXPIRATION_SECONDS_MAX) return
  throw invalidParameter(`expiration must be between 1 and ${EXPIRATION_SECONDS_MAX} seconds (got ${seconds}).`)
}

function refuseProxied(root: string, direction: 'upload' | 'download', owner: '' | 'runs with '): void {
  if (!isProxied(root)) return
  throw invalidParameter(
    `Presigned ${direction} is not supported for ${owner}proxied artifact storage (artifact URI scheme: ${rootScheme(root)}). ` +
      `This endpoint requires a ${owner === '' ? '' : 'run with a '}direct cloud storage artifact URI.`,
  )
}
