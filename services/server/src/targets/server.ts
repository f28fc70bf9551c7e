import { createDirectTransport } from '@millrace/kit/rpc'
import { closeWith } from '../lifetime.ts'
import type { Opened, Setup } from '../targets.ts'

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
  const metadataConfig = metadata.checkMetadata(metadata.readMetadata(env, flags))
  const jobsConfig = jobs.checkGcWorker(jobs.readGcWorker(env, { ...flags, redisUrl: undefined }))
  await using stack = new AsyncDisposableStack()
  const theArtifacts = stack.use(await artifacts.openArtifacts(artifactsConfig))
  const toArtifacts = createDirectTransport(theArtifacts.routes)
  const ready: Record<string, () => Promise<void>> = { artifacts: () => theArtifacts.ready() }
  const dependencies = { artifacts: toArtifacts, bytes: theArtifacts.bytes, metrics: theArtifacts.metrics, ready, log }
  if (gatewayConfig.artifactsOnly) return closeWith(stack, await gateway.startGateway(gatewayConfig, dependencies))

  const theMetadata = stack.use(await metadata.openMetadata(metadataConfig))
  const toMetadata = createDirectTransport(theMetadata.routes)
  const theJobs = stack.use(await jobs.openGcWorker(jobsConfig, { metadata: toMetadata, artifacts: toArtifacts, log }))
  ready.metadata = () => theMetadata.ready()
  ready.jobs = () => theJobs.ready()
  const all = { ...dependencies, metadata: toMetadata, jobs: createDirectTransport(theJobs.routes) }
  return closeWith(stack, await gateway.startGateway(gatewayConfig, all))
}
