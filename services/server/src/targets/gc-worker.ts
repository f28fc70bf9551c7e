import { checkGcWorker, openGcWorker, readGcWorker } from '@millrace/gc-worker/service'
import { createUpstream } from '@millrace/kit/balance'
import { checkAddress, checkUpstreams, readAddress, readUpstreams } from '../config.ts'
import { closeWith } from '../lifetime.ts'
import type { Opened, Setup } from '../opened.ts'
import { serve } from '../serve.ts'

const DEFAULT_PORT = 5103

export async function openGcWorkerTarget({ env, flags, log }: Setup): Promise<Opened> {
  const address = checkAddress(readAddress(env, flags), DEFAULT_PORT)
  const config = checkGcWorker(readGcWorker(env, flags))
  const urls = checkUpstreams(readUpstreams(env, flags), config.artifactsOnly ? ['artifacts'] : ['metadata', 'artifacts'])
  await using stack = new AsyncDisposableStack()
  const metadata = config.artifactsOnly ? undefined : stack.use(createUpstream('metadata', urls.metadata, log)).transport
  const artifacts = stack.use(createUpstream('artifacts', urls.artifacts, log)).transport
  const worker = stack.use(await openGcWorker(config, { metadata, artifacts, log }))
  return closeWith(stack, await serve({ address, routes: worker.routes, ready: () => worker.ready(), log }))
}
