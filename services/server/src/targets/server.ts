import { createDirectTransport } from '@millrace/kit/rpc'
import { closeWith } from '../lifetime.ts'
import type { Opened, Setup } from '../opened.ts'

/** Every service in this process, joined by direct calls: in-process bytes and jobs, no other software. */
export async function openServer({ env, flags, log }: Setup): Promise<Opened> {
  const [gateway, metadata, artifacts, jobs] = await Promise.all([
    import('@millrace/gateway/service'),
    import('@millrace/metadata/service'),
    import('@millrace/artifacts/service'),
    import('@millrace/gc-worker/service'),
  ])
  const gatewayConfig = gateway.checkGateway(gateway.readGateway(env, flags))
  const artifactsConfig = artifacts.checkArtifacts(artifacts.readArtifacts(env, flags))
  const metadataConfig = metadata.checkMetadata(metadata.readMetadata(env, flags), artifacts.hostTargets)
  const jobsConfig = jobs.checkGcWorker(jobs.readGcWorker(env, { ...flags, redisUrl: undefined }))
  await using stack = new AsyncDisposableStack()
  const theArtifacts = stack.use(await artifacts.openArtifacts(artifactsConfig))
  const toArtifacts = createDirectTransport(theArtifacts.routes)
  const ready: Record<string, () => Promise<void>> = { artifacts: () => theArtifacts.ready() }
  const theMetadata = gatewayConfig.artifactsOnly ? undefined : stack.use(await metadata.openMetadata(metadataConfig))
  if (theMetadata) ready.metadata = () => theMetadata.ready()
  const toMetadata = theMetadata && createDirectTransport(theMetadata.routes)
  const theJobs = stack.use(await jobs.openGcWorker(jobsConfig, { metadata: toMetadata, artifacts: toArtifacts, log }))
  ready.jobs = () => theJobs.ready()
  const port = await gateway.startGateway(gatewayConfig, {
    metadata: toMetadata,
    artifacts: toArtifacts,
    bytes: theArtifacts.bytes,
    jobs: createDirectTransport(theJobs.routes),
    metrics: theArtifacts.metrics,
    ready,
    log,
  })
  return closeWith(stack, port)
}
