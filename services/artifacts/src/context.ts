import type { Stores } from './stores.ts'

/** What every handler of the artifact service gets. */
export interface ArtifactsContext {
  readonly stores: Stores
  readonly presignedDownloadTtlSeconds: number
}
