import { byteHandler } from '@millrace/artifacts/http-bytes'
import { checkArtifacts, openArtifacts, readArtifacts } from '@millrace/artifacts/service'
import { checkAddress, readAddress } from '../config.ts'
import { closeWith } from '../lifetime.ts'
import type { Opened, Setup } from '../opened.ts'
import { serve } from '../serve.ts'

const DEFAULT_PORT = 5102

export async function openArtifactsTarget({ env, flags, log }: Setup): Promise<Opened> {
  const address = checkAddress(readAddress(env, flags), DEFAULT_PORT)
  await using stack = new AsyncDisposableStack()
  const artifacts = stack.use(await openArtifacts(checkArtifacts(readArtifacts(env, flags))))
  const raw = { '/bytes': byteHandler(artifacts.bytes, log) }
  return closeWith(
    stack,
    await serve({ address, routes: artifacts.routes, ready: () => artifacts.ready(), raw, metrics: artifacts.metrics, log }),
  )
}
