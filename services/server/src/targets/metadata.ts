import { hostTargets } from '@millrace/artifacts/hosts'
import { checkMetadata, openMetadata, readMetadata } from '@millrace/metadata/service'
import { checkAddress, readAddress } from '../config.ts'
import { closeWith } from '../lifetime.ts'
import type { Opened, Setup } from '../opened.ts'
import { serve } from '../serve.ts'

const DEFAULT_PORT = 5101

export async function openMetadataTarget({ env, flags, log }: Setup): Promise<Opened> {
  const address = checkAddress(readAddress(env, flags), DEFAULT_PORT)
  await using stack = new AsyncDisposableStack()
  const metadata = stack.use(await openMetadata(checkMetadata(readMetadata(env, flags), hostTargets)))
  return closeWith(stack, await serve({ address, routes: metadata.routes, ready: () => metadata.ready(), log }))
}
