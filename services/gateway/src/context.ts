import type { Transport } from '@connectrpc/connect'
import type { ReplicaCounts } from '@millrace/kit/balance'
import type { ByteChannel } from '@millrace/kit/bytes'
import type { Logger } from '@millrace/kit/logger'
import type { Distribution, Metric } from '@millrace/kit/metrics'
import type { GatewayConfig } from './config.ts'

/** The parts behind a gateway. An absent one isn't there, as metadata with `--artifacts-only`. */
export interface GatewayDependencies {
  metadata?: Transport
  artifacts?: Transport
  /** The data path of the artifacts service. */
  bytes?: ByteChannel
  jobs?: Transport
  /** By name of a part: resolves while it can serve, with how many of its replicas do if it has any; rejects otherwise. Shown by `/ready`. */
  ready: Record<string, () => Promise<ReplicaCounts> | Promise<void>>
  /** Of this process. Shown by `/metrics`. */
  metrics?: readonly (Metric | Distribution)[]
  /** Where failures of the server's own go; their text never reaches a client. */
  log?: Logger
}

/** What every handler of the gateway gets. */
export interface GatewayContext extends GatewayDependencies {
  readonly config: GatewayConfig
}
