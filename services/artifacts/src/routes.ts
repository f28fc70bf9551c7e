import { type Route, route } from '@millrace/kit/rpc'
import { ArtifactStoreService } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import type { ArtifactsContext } from './context.ts'
import { artifactStore } from './rpc/artifact-store.ts'

export function routes(context: ArtifactsContext): Route[] {
  return [route(ArtifactStoreService, artifactStore(context))]
}
