import type { IncomingMessage, ServerResponse } from 'node:http'
import { callOptions } from '@millrace/kit/call-context'
import { badRequest } from '@millrace/kit/errors'
import { Action } from '@millrace/proto/millrace/options/v1/access_pb'
import { safePath } from '@millrace/rest/safe-path'
import type { GatewayContext } from '../context.ts'
import { modelRoot } from '../rpc/logged-model-artifacts.ts'
import type { RawParams, RawRoute } from './route.ts'
import { sendBelow } from './run-artifacts.ts'

/** Artifacts of logged models, wherever a model stores them. */
export const modelArtifactRoute: RawRoute = {
  method: 'GET',
  pattern: '/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files',
  area: 'tracking',
  access: { needs: [{ on: 'logged_model', from: 'model_id', action: Action.READ }] },
  handle: getArtifact,
}

async function getArtifact(
  req: IncomingMessage,
  res: ServerResponse,
  { path, query, call }: RawParams,
  ctx: GatewayContext,
): Promise<void> {
  const given = query.get('artifact_file_path')?.[0]
  if (!given) throw badRequest('Request must include the "artifact_file_path" query parameter.')
  const checked = safePath(given)
  const root = await modelRoot(ctx, path.model_id ?? '', callOptions(call))
  await sendBelow(req, res, ctx, { root, path: checked, call })
}
