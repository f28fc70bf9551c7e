import { type Millrace, startTarget } from './millrace.ts'
import { answers, eventually } from './process.ts'

export interface Split extends AsyncDisposable {
  /** Of the gateway. */
  readonly url: string
  readonly gateway: Millrace
  readonly metadata: Millrace
  readonly artifacts: Millrace
  readonly gcWorker: Millrace
}

export interface SplitOptions {
  cwd: string
  backendStoreUri: string
  artifactsDestination: string
  env?: Record<string, string>
}

/** Every service in a process of its own, one of each, without other software. */
export async function startSplit({ cwd, backendStoreUri, artifactsDestination, env }: SplitOptions): Promise<Split> {
  await using stack = new AsyncDisposableStack()
  const target = async (name: string, args: string[]) => stack.use(await startTarget(name, { cwd, env, args }))
  const database = ['--backend-store-uri', backendStoreUri]
  const metadata = await target('metadata', database)
  const artifacts = await target('artifacts', ['--artifacts-destination', artifactsDestination])
  const urls = ['--metadata-url', metadata.url, '--artifacts-url', artifacts.url]
  const gcWorker = await target('gc-worker', [...database, ...urls])
  const gateway = await target('gateway', [...urls, '--jobs-url', gcWorker.url])
  await eventually('the gateway is ready', async () => (await answers(`${gateway.url}/ready`).catch(() => false)) || undefined)
  const opened = stack.move()
  const { url } = gateway
  return { url, gateway, metadata, artifacts, gcWorker, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}
