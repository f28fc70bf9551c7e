import { type Millrace, startTarget } from './millrace.ts'
import { answers, eventually } from './process.ts'

/** A process of the cluster that can be ended and begun again where it was. */
export interface Member extends Millrace {
  readonly target: string
  /** Puts another process in the place of one that has ended, and waits until it is ready. */
  begin(): Promise<void>
  /** Ends the process by SIGTERM and begins it again. @returns how it ended. */
  restart(): Promise<number | string>
}

export interface Cluster extends AsyncDisposable {
  /** Of the gateway. */
  readonly url: string
  readonly gateway: Member
  readonly metadata: readonly [Member, Member]
  readonly artifacts: readonly [Member, Member]
  readonly gcWorker: Member
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
  const target = async (name: string, args: string[]) => stack.use(await startMember(name, { cwd, env, args }))
  const database = ['--backend-store-uri', options.postgresUrl]
  const store = ['--artifacts-destination', options.artifactsDestination]
  const metadata = [await target('metadata', database), await target('metadata', database)] as const
  const artifacts = await Promise.all([target('artifacts', store), target('artifacts', store)] as const)
  const urls = [
    ...metadata.flatMap(service => ['--metadata-url', service.url]),
    ...artifacts.flatMap(service => ['--artifacts-url', service.url]),
  ]
  const redis = ['--redis-url', options.redisUrl, '--redis-prefix', options.redisPrefix]
  const gcWorker = await target('gc-worker', [...database, ...redis, ...urls])
  const gateway = await target('gateway', [...urls, '--jobs-url', gcWorker.url])
  await isReady(gateway)
  const opened = stack.move()
  return {
    url: gateway.url,
    gateway,
    metadata,
    artifacts,
    gcWorker,
    async killArtifacts() {
      await Promise.all(artifacts.map(({ process }) => process.end('SIGKILL')))
    },
    async startArtifacts() {
      await Promise.all(artifacts.map(one => one.begin()))
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

async function startMember(target: string, options: Parameters<typeof startTarget>[1]): Promise<Member> {
  let current = await startTarget(target, options)
  const { url, port } = current
  const begin = async () => {
    current = await startTarget(target, { ...options, port })
    await isReady(current)
  }
  return {
    target,
    url,
    port,
    get process() {
      return current.process
    },
    begin,
    async restart() {
      const end = await current.process.end('SIGTERM')
      await begin()
      return end
    },
    [Symbol.asyncDispose]: () => current[Symbol.asyncDispose](),
  }
}

const isReady = ({ url }: Millrace) => eventually(`${url} is ready`, async () => ((await answersOk(`${url}/ready`)) ? true : undefined))

async function answersOk(url: string): Promise<boolean> {
  return answers(url).catch(() => false)
}
