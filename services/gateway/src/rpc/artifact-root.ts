import { posix } from 'node:path'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { CallOptions } from '@connectrpc/connect'
import { artifactPlace } from '@millrace/kit/artifact-place'
import { withoutTrailingSlashes } from '@millrace/kit/slashes'
import type { FileInfoSchema } from '@millrace/proto/millrace/artifacts/v1/files_pb'
import type { GatewayContext } from '../context.ts'
import { shownSize, storeClient } from './artifact-proxy.ts'

interface Listing {
  rootUri: string
  files: MessageInitShape<typeof FileInfoSchema>[]
}

/** Direct children of a folder below the artifact root of a run or model. */
export async function listBelow(ctx: GatewayContext, root: string, path: string, options: CallOptions): Promise<Listing> {
  const { files } = await storeClient(ctx).list({ uri: artifactPlace(root, path) }, options)
  const above = shownFolder(root, path)
  return { rootUri: root, files: files.map(file => ({ ...shownSize(file), path: `${above}${file.path}` })) }
}

export const rootScheme = (root: string) => /^([a-z][a-z0-9+.-]*):/i.exec(root)?.[1]?.toLowerCase() ?? ''

export const isProxied = (root: string) => ['http', 'https', 'mlflow-artifacts'].includes(rootScheme(root))

/** Prefix of the paths in a listing: MLflow's proxy repeats the path of the request, its repositories give the folder's path. */
function shownFolder(root: string, path: string): string {
  const folder = withoutTrailingSlashes(isProxied(root) ? path : posix.join('/', path).slice(1))
  return folder === '' ? '' : `${folder}/`
}
