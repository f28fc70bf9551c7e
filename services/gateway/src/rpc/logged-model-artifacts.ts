import { type CallOptions, createClient, type ServiceImpl } from '@connectrpc/connect'
import { callOptions } from '@millrace/kit/call-context'
import { temporarilyUnavailable } from '@millrace/kit/errors'
import type { LoggedModelArtifactService } from '@millrace/proto/millrace/artifacts/v1/logged_model_artifacts_pb'
import { LoggedModelService } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { safePath } from '@millrace/rest/safe-path'
import type { GatewayContext } from '../context.ts'
import { listBelow } from './artifact-root.ts'

/** Artifacts of logged models: the location comes from metadata, the content from the artifacts service. */
export function loggedModelArtifacts(ctx: GatewayContext): ServiceImpl<typeof LoggedModelArtifactService> {
  return {
    async listLoggedModelArtifacts({ modelId = '', artifactDirectoryPath: given }, context) {
      const options = callOptions(context)
      const path = given === undefined ? '' : safePath(given)
      return listBelow(ctx, await modelRoot(ctx, modelId, options), path, options)
    },
  }
}

/** Root of a model's artifacts. @throws RESOURCE_DOES_NOT_EXIST for a model that is unknown or deleted. */
export async function modelRoot({ metadata }: GatewayContext, modelId: string, options: CallOptions): Promise<string> {
  if (!metadata) throw temporarilyUnavailable('The metadata service is not there')
  const { model } = await createClient(LoggedModelService, metadata).getLoggedModel({ modelId }, options)
  return model?.info?.artifactUri ?? ''
}
