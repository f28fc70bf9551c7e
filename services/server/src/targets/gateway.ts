import { createByteClient } from '@millrace/artifacts/byte-client/client'
import { checkGateway, readGateway, startGateway } from '@millrace/gateway/service'
import { createUpstream, type ReplicaCounts } from '@millrace/kit/balance'
import { checkUpstreams, readUpstreams, type UpstreamConfig } from '../config.ts'
import { closeWith } from '../lifetime.ts'
import type { Opened, Setup } from '../opened.ts'

/** The public port alone; the other services are called over the network. */
export async function openGateway({ env, flags, log }: Setup): Promise<Opened> {
  const config = checkGateway(readGateway(env, flags))
  const urls = checkUpstreams(readUpstreams(env, flags), config.artifactsOnly ? ['artifacts'] : ['metadata'])
  await using stack = new AsyncDisposableStack()
  const ready: Record<string, () => Promise<ReplicaCounts>> = {}
  const reach = (part: keyof UpstreamConfig) => {
    if (urls[part].length === 0) return undefined
    const upstream = stack.use(createUpstream(part, urls[part], log))
    ready[part] = () => upstream.ready()
    return upstream
  }
  const artifacts = reach('artifacts')
  const port = await startGateway(config, {
    metadata: config.artifactsOnly ? undefined : reach('metadata')?.transport,
    artifacts: artifacts?.transport,
    bytes: artifacts && stack.use(createByteClient(artifacts.pick, artifacts.avoid, artifacts.wait)),
    jobs: reach('jobs')?.transport,
    ready,
    log,
  })
  return closeWith(stack, port)
}
