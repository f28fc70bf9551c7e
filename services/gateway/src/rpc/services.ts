import type { DescService } from '@bufbuild/protobuf'
import type { Transport } from '@connectrpc/connect'
import { createDirectTransport, type Route, route } from '@millrace/kit/rpc'
import { LoggedModelArtifactService } from '@millrace/proto/millrace/artifacts/v1/logged_model_artifacts_pb'
import { ArtifactProxyService } from '@millrace/proto/millrace/artifacts/v1/proxy_pb'
import { RunArtifactService } from '@millrace/proto/millrace/artifacts/v1/run_artifacts_pb'
import { GarbageCollectionService } from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import { MultipartUploadService } from '@millrace/proto/millrace/jobs/v1/multipart_uploads_pb'
import { DatasetService } from '@millrace/proto/millrace/tracking/v1/datasets_pb'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { LoggedModelService } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { RunService } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import type { GatewayContext } from '../context.ts'
import type { Area } from '../mode.ts'
import { artifactProxy } from './artifact-proxy.ts'
import { loggedModelArtifacts } from './logged-model-artifacts.ts'
import { runArtifacts } from './run-artifacts.ts'
import { serverInfo } from './server-info.ts'

/** A service of the public port and the transport to its handlers. */
export interface PublicService {
  readonly service: DescService
  readonly transport: Transport
  readonly area: Area | undefined
}

/** Every service of the public port: forwarded to the service that owns it, or answered here from several services. */
export function publicServices(ctx: GatewayContext): PublicService[] {
  const absent = createDirectTransport([])
  const forwarded = (service: DescService, transport: Transport | undefined): PublicService => ({
    service,
    transport: transport ?? absent,
    area: 'tracking',
  })
  const joined = (own: Route, area?: Area): PublicService => ({ service: own.service, transport: createDirectTransport([own]), area })
  return [
    forwarded(ExperimentService, ctx.metadata),
    forwarded(RunService, ctx.metadata),
    forwarded(MetricService, ctx.metadata),
    forwarded(DatasetService, ctx.metadata),
    forwarded(LoggedModelService, ctx.metadata),
    forwarded(GarbageCollectionService, ctx.jobs),
    { service: MultipartUploadService, transport: ctx.jobs ?? absent, area: ctx.jobs ? undefined : 'tracking' },
    joined(serverInfo(ctx)),
    joined(route(ArtifactProxyService, artifactProxy(ctx)), 'artifacts'),
    joined(route(RunArtifactService, runArtifacts(ctx)), 'tracking'),
    joined(route(LoggedModelArtifactService, loggedModelArtifacts(ctx)), 'tracking'),
  ]
}
