import { type Millrace, startTarget } from './millrace.ts'
import { answers, eventually } from './process.ts'

export interface Cluster extends AsyncDisposable {
  /** Of the gateway. */
  readonly url: string
  readonly gateway: Millrace
  readonly metadata: readonly [Millrace, Millrace]
  readonly artifacts: readonly [Millrace, Millrace]
  readonly gcWorker: Millrace
  /** Ends both artifacts services without a word to anybody. */
  killArtifacts(): Promise<void>
  /** Puts others in their place, at the same ports. */
  startArtifacts(): Promise<void>
}

export interface ClusterOptions {
  cwd: string
  postgresUrl: string
  redisUrl: string
  /** Begins every key in Redis, so that clusters do not take each other's jobs. */
  redisPrefix: string
  artifactsDestination: string
  /** Credentials and endpoint of the artifact store. */
  env: Record<string, string>
}

/** The topology of docker-compose.yml as plain processes: a gateway over two metadata and two artifacts services, and a gc-worker. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { cwd, env } = options
  await using stack = new AsyncDisposableStack()
  let processes: AsyncDisposableStack = stack
  const target = async (name: string, args: string[], port?: number) => processes.use(await startTarget(name, { cwd, env, args, port }))
  const database = ['--backend-store-uri', options.postgresUrl]
  const store = ['--artifacts-destination', options.artifactsDestination]
  const metadata = [await target('metadata', database), await target('metadata', database)] as const
  const startBoth = (ports: readonly [number?, number?]) =>
    Promise.all([target('artifacts', store, ports[0]), target('artifacts', store, ports[1])] as const)
  let artifacts = await startBoth([])
  const urls = [
    ...metadata.flatMap(service => ['--metadata-url', service.url]),
    ...artifacts.flatMap(service => ['--artifacts-url', service.url]),
  ]
  const redis = ['--redis-url', options.redisUrl, '--redis-prefix', options.redisPrefix]
  const gcWorker = await target('gc-worker', [...database, ...redis, ...urls])
  const gateway = await target('gateway', [...urls, '--jobs-url', gcWorker.url])
  await eventually('the gateway is ready', async () => ((await answersOk(`${gateway.url}/ready`)) ? true : undefined))
  const opened = stack.move()
  processes = opened
  return {
    url: gateway.url,
    gateway,
    metadata,
    get artifacts() {
      return artifacts
    },
    gcWorker,
    async killArtifacts() {
      await Promise.all(artifacts.map(({ process }) => process.end('SIGKILL')))
    },
    async startArtifacts() {
      artifacts = await startBoth([artifacts[0].port, artifacts[1].port])
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

async function answersOk(url: string): Promise<boolean> {
  return answers(url).catch(() => false)
}
