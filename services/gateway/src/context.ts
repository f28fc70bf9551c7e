import type { Transport } from '@connectrpc/connect'
import type { ReplicaCounts } from '@millrace/kit/balance'
import type { ByteChannel } from '@millrace/kit/bytes'
import type { Logger } from '@millrace/kit/logger'
import type { Distribution, Metric } from '@millrace/kit/metrics'
import type { GatewayConfig } from './config.ts'

/** The services behind a gateway. One may be absent, as metadata is with `--artifacts-only`. */
export interface GatewayDependencies {
  metadata?: Transport
  artifacts?: Transport
  /** The data path of the artifacts service. */
  bytes?: ByteChannel
  jobs?: Transport
  /** Readiness checks by service, for `/ready`: each resolves when it can serve, with the number of ready replicas if it has any, or rejects. */
  ready: Record<string, () => Promise<ReplicaCounts> | Promise<void>>
  /** Metrics of this process, for `/metrics`. */
  metrics?: readonly (Metric | Distribution)[]
  /** Gets internal errors, whose text never reaches a client. */
  log?: Logger
}

/** What every handler of the gateway gets. */
export interface GatewayContext extends GatewayDependencies {
  readonly config: GatewayConfig
}
