import { type CallOptions, type Client, createClient, type Transport } from '@connectrpc/connect'
import { ANONYMOUS, type CallIdentity, ownCallOptions } from '@millrace/kit/call-context'
import type { Logger } from '@millrace/kit/logger'
import { createDirectTransport } from '@millrace/kit/rpc'
import { ArtifactStoreService } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { MaintenanceService } from '@millrace/proto/millrace/tracking/v1/maintenance_pb'

export interface GcWorkerDependencies {
  /** Absent where there is no tracking database: uploads are looked after, nothing is collected. */
  readonly metadata?: Transport
  readonly artifacts: Transport
  /** False leaves the uploads of the control database to others: these artifacts may not be the ones that they are in. */
  readonly uploads?: boolean
  readonly log?: Logger
}

/** The other services as this one calls them. */
export interface Clients {
  readonly maintenance: Client<typeof MaintenanceService>
  readonly artifacts: Client<typeof ArtifactStoreService>
  /** On whose behalf they are called. */
  readonly call?: CallIdentity
}

/** Calls of a job have its id where those of a request have the request's. */
export const jobCall = (jobId: string): CallIdentity => ({ requestId: jobId, principal: ANONYMOUS })

export function createClients({ metadata = createDirectTransport([]), artifacts }: GcWorkerDependencies): Clients {
  return {
    maintenance: createClient(MaintenanceService, metadata),
    artifacts: createClient(ArtifactStoreService, artifacts),
  }
}

const METADATA_TIMEOUT_MS = 60_000
/** A folder can hold very many files. */
const ARTIFACTS_TIMEOUT_MS = 15 * 60_000
/** A store without multipart upload is read and written at its own speed. A dead connection is noticed earlier, by its pings. */
const COMPLETION_TIMEOUT_MS = 24 * 3_600_000

/** A call that has begun is allowed to end when the worker stops: cutting it would leave unknown what it did. */
export const metadataCall = (call: CallIdentity | undefined): CallOptions => ownCallOptions(METADATA_TIMEOUT_MS, call)
export const artifactsCall = (call: CallIdentity | undefined): CallOptions => ownCallOptions(ARTIFACTS_TIMEOUT_MS, call)
export const completionCall = (call: CallIdentity | undefined): CallOptions => ownCallOptions(COMPLETION_TIMEOUT_MS, call)
