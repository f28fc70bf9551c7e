import type { ByteChannel } from '@millrace/kit/bytes'
import type { Metric } from '@millrace/kit/metrics'
import type { Route } from '@millrace/kit/rpc'
import { createByteChannel } from './byte-channel.ts'
import type { ArtifactsConfig } from './config.ts'
import { HeldBytes } from './held-bytes.ts'
import { routes } from './routes.ts'
import { openStores } from './stores.ts'
import { Transfers } from './transfers.ts'

export { type ArtifactsConfig, checkArtifacts, readArtifacts } from './config.ts'
export { hostTargets } from './hosts.ts'

const READY_TIMEOUT_MS = 5_000

export interface Artifacts extends AsyncDisposable {
  readonly routes: Route[]
  readonly bytes: ByteChannel
  readonly metrics: readonly Metric[]
  /** @throws when the artifacts destination can't be read. */
  ready(): Promise<void>
}

export async function openArtifacts(config: ArtifactsConfig): Promise<Artifacts> {
  const held = new HeldBytes(config.limits.heldBytesMax)
  const stores = openStores(config, held)
  const transfers = new Transfers(config.limits)
  return {
    routes: routes({ stores, presignedDownloadTtlSeconds: config.presignedDownloadTtlSeconds }),
    bytes: createByteChannel(stores, transfers),
    metrics: [...transfers.metrics, held.metric],
    async ready() {
      const destination = await stores.destination()
      await destination?.store.stat('', AbortSignal.timeout(READY_TIMEOUT_MS))
    },
    [Symbol.asyncDispose]: () => stores[Symbol.asyncDispose](),
  }
}
