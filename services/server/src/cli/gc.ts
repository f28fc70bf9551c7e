import { existsSync } from 'node:fs'
import { type Client, Code, ConnectError, createClient, type Interceptor, type ServiceImpl, type Transport } from '@connectrpc/connect'
import { formatAge, parseAge } from '@millrace/gc-worker/age'
import { type Env, type Flags, read } from '@millrace/kit/config'
import { invalidState, toMlflowError } from '@millrace/kit/errors'
import { createLogger } from '@millrace/kit/logger'
import { createDirectTransport, type Route } from '@millrace/kit/rpc'
import { ArtifactStoreService } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import {
  type GarbageCollection,
  type GarbageCollectionItem,
  GarbageCollectionService,
  ItemKind,
  ItemState,
} from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import { type Command, Option } from 'commander'
import { processEnv } from '../config.ts'
import { UsageError } from './errors.ts'
import { checkWorkspace } from './usage.ts'

type GcClient = Client<typeof GarbageCollectionService>

const HTTP = /^https?:\/\//
const CALL_TIMEOUT_MS = 10 * 60_000
const WATCH_FAILURES_MAX = 5
const WATCH_PAUSE_MS = 1_000
const PAGE_ITEMS = 500
const DEFAULT_DESTINATION = './mlartifacts'
const ARTIFACTS_ROUTE = '/api/2.0/mlflow-artifacts/artifacts'
const KIND_NAMES: Record<ItemKind, string> = {
  [ItemKind.UNSPECIFIED]: 'Item',
  [ItemKind.RUN]: 'Run',
  [ItemKind.LOGGED_MODEL]: 'Logged model',
  [ItemKind.EXPERIMENT]: 'Experiment',
  [ItemKind.JOB]: 'Job',
}

/** `millrace gc`, with the options and words of `mlflow gc`. */
export function registerGc(program: Command): void {
  program
    .command('gc')
    .summary('Delete for good what was deleted')
    .description('Remove deleted runs, logged models and experiments for good: artifacts first, then rows.')
    .allowExcessArguments(false)
    .addOption(new Option('--older-than <age>', 'only what was deleted at least this long ago: #d#h#m#s, fractions allowed, as 1d2h3m4s'))
    .addOption(new Option('--backend-store-uri <uri>', 'work on this tracking database in this process, without a server'))
    .addOption(new Option('--artifacts-destination <uri>', 'where served artifacts are kept [env: MLFLOW_ARTIFACTS_DESTINATION]'))
    .addOption(new Option('--run-ids <ids>', 'comma-separated runs (default: all deleted ones)'))
    .addOption(new Option('--experiment-ids <ids>', 'comma-separated experiments, with their runs (default: all deleted ones)'))
    .addOption(new Option('--logged-model-ids <ids>', 'comma-separated logged models (default: all deleted ones)'))
    .addOption(new Option('--jobs', "also rows of MLflow's jobs that have ended (default: none)"))
    .addOption(new Option('--job-ids <ids>', 'comma-separated jobs, of which those go that have ended; --jobs is not needed'))
    .addOption(new Option('--tracking-uri <uri>', 'a running server that does the work [env: MLFLOW_TRACKING_URI]'))
    .addOption(new Option('--control-store-uri <uri>', 'database of jobs, without a server [env: MILLRACE_CONTROL_STORE_URI]'))
    .addOption(new Option('--workspace <name>', "the workspace 'default', which is the only one [env: MLFLOW_WORKSPACE]"))
    .addOption(new Option('--all-workspaces', 'every workspace, which is the default one'))
    .addOption(new Option('--dry-run', 'list what would be removed and remove nothing'))
    .action(gc)
}

async function gc(flags: Flags): Promise<void> {
  const env = processEnv()
  checkWorkspace(env, flags)
  const olderThan = text(flags, 'olderThan')
  const olderThanMs = olderThan ? plainErrors(() => parseAge(olderThan)) : undefined
  const request = {
    olderThanMs: olderThanMs === undefined ? undefined : BigInt(olderThanMs),
    runIds: ids(flags, 'runIds', '--run-ids'),
    experimentIds: ids(flags, 'experimentIds', '--experiment-ids'),
    loggedModelIds: ids(flags, 'loggedModelIds', '--logged-model-ids'),
    jobs: flags.jobs === true,
    jobIds: ids(flags, 'jobIds', '--job-ids'),
    dryRun: flags.dryRun === true,
  }
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(new Error(`Stopped by ${signal}`)))
  await using stack = new AsyncDisposableStack()
  const client = createClient(GarbageCollectionService, await connect(env, flags, stack))
  try {
    const { job } = await client.startGarbageCollection(request, { timeoutMs: CALL_TIMEOUT_MS, signal: stop.signal })
    if (!job) throw new Error('The server started no job')
    if (request.dryRun) await printItems(client, job.jobId)
    else await follow(client, job, stop.signal)
  } catch (reason) {
    throw plainError(reason, message =>
      olderThan ? message.replace(`older than ${formatAge(olderThanMs ?? 0)} can`, `older than ${olderThan} can`) : message,
    )
  }
}

function text(flags: Flags, name: string): string | undefined {
  const value = flags[name]
  return typeof value === 'string' ? value : undefined
}

/** An option that names nothing is refused: read as absent, it would stand for everything deleted. */
function ids(flags: Flags, name: string, option: string): string[] {
  const value = text(flags, name)
  if (value === undefined) return []
  const named = value.split(',').map(id => id.trim())
  if (named.some(id => id === '')) throw new UsageError(`Invalid value for '${option}': '${value}' has an empty id.`)
  return named
}

/** The server that does the work, or its parts opened in this process. */
async function connect(env: Env, flags: Flags, stack: AsyncDisposableStack): Promise<Transport> {
  const tracking = read(env, flags, 'trackingUri', 'MLFLOW_TRACKING_URI')?.value
  const isServer = tracking !== undefined && HTTP.test(tracking)
  if (isServer && flags.backendStoreUri === undefined) return connectServer(tracking, env)
  const backendStoreUri = read(env, flags, 'backendStoreUri', 'MLFLOW_BACKEND_STORE_URI')?.value ?? tracking
  if (backendStoreUri === undefined) {
    throw new Error('Tracking URL is not set. Please set MLFLOW_TRACKING_URI environment variable or provide --tracking-uri cli option.')
  }
  return openHere(env, { ...flags, backendStoreUri }, isServer ? tracking : undefined, stack)
}

async function connectServer(baseUrl: string, env: Env): Promise<Transport> {
  const { createConnectTransport } = await import('@connectrpc/connect-node')
  const authorization = credentials(env)
  const authorize: Interceptor = next => request => {
    if (authorization) request.header.set('authorization', authorization)
    return next(request)
  }
  return createConnectTransport({ baseUrl: baseUrl.replace(/\/+$/, ''), httpVersion: '1.1', interceptors: [authorize] })
}

function credentials(env: Env): string | undefined {
  const { MLFLOW_TRACKING_USERNAME: user, MLFLOW_TRACKING_PASSWORD: password, MLFLOW_TRACKING_TOKEN: token } = env
  if (user && password) return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
  return token ? `Bearer ${token}` : undefined
}

async function openHere(env: Env, flags: Flags, server: string | undefined, stack: AsyncDisposableStack): Promise<Transport> {
  const [metadata, artifacts, jobs] = await Promise.all([
    import('@millrace/metadata/service'),
    import('@millrace/artifacts/service'),
    import('@millrace/gc-worker/service'),
  ])
  const log = createLogger({ level: 'error' })
  const metadataConfig = metadata.checkMetadata(metadata.readMetadata(env, flags), artifacts.hostTargets)
  // The operator's own act, wherever artifacts are.
  const everywhere = { trackingUri: server, followHosts: true, allowedFolders: undefined }
  const artifactsConfig = { ...artifacts.checkArtifacts(artifacts.readArtifacts(env, flags)), ...everywhere }
  const jobsConfig = { ...jobs.checkGcWorker(jobs.readGcWorker(env, { ...flags, artifactsOnly: false })), redisUrl: undefined }
  const theMetadata = stack.use(await metadata.openMetadata(metadataConfig))
  const theArtifacts = stack.use(await artifacts.openArtifacts(artifactsConfig))
  const destination = read(env, flags, 'artifactsDestination', 'MLFLOW_ARTIFACTS_DESTINATION')?.value
  const routes = destination === undefined ? [servedArtifacts(createDirectTransport(theArtifacts.routes), server)] : theArtifacts.routes
  const toMetadata = createDirectTransport(theMetadata.routes)
  const toArtifacts = createDirectTransport(routes)
  const worker = stack.use(await jobs.openGcWorker(jobsConfig, { metadata: toMetadata, artifacts: toArtifacts, uploads: false, log }))
  return createDirectTransport(worker.routes)
}

/**
 * Artifacts without a destination that the operator named: those that a server serves are removed through that server, as `mlflow gc`
 * does. Without a server they are looked for where `millrace server` keeps them by default, if it has ever run here.
 */
function servedArtifacts(own: Transport, server: string | undefined): Route {
  const { list, stat, delete: remove } = createClient(ArtifactStoreService, own)
  const at = (uri: string): string => {
    const path = /^mlflow-artifacts:(?!\/\/[^/])\/*(.*)$/s.exec(uri)?.[1]
    if (path === undefined) return uri
    if (server !== undefined) return `${server.replace(/\/+$/, '')}${ARTIFACTS_ROUTE}/${path}`
    if (existsSync(DEFAULT_DESTINATION)) return uri
    throw invalidState(`'${uri}' is served by a server: give --artifacts-destination or --tracking-uri`)
  }
  const implementation: Partial<ServiceImpl<typeof ArtifactStoreService>> = {
    list: ({ uri }) => list({ uri: at(uri) }),
    stat: ({ uri }) => stat({ uri: at(uri) }),
    delete: ({ uri }) => remove({ uri: at(uri) }),
  }
  return { service: ArtifactStoreService, implementation }
}

async function printItems(client: GcClient, jobId: string): Promise<void> {
  let pageToken: string | undefined
  do {
    const page = await client.getGarbageCollection({ jobId, pageSize: PAGE_ITEMS, pageToken }, { timeoutMs: CALL_TIMEOUT_MS })
    for (const item of page.items) process.stdout.write(`${named(item)} would be permanently deleted.\n`)
    pageToken = page.nextPageToken
  } while (pageToken)
}

/** Prints the items of a job as they end. A watch that breaks is begun again, which repeats the items from the first. */
async function follow(client: GcClient, started: GarbageCollection, signal: AbortSignal): Promise<void> {
  let printed = 0
  for (let failures = 0; ; ) {
    let seen = 0
    try {
      for await (const { job, item } of client.watchGarbageCollection({ jobId: started.jobId }, { signal, timeoutMs: CALL_TIMEOUT_MS })) {
        failures = 0
        if (item && ++seen > printed) printed += print(item)
        if (!item && job) return checkEnd(job)
      }
      signal.throwIfAborted()
    } catch (reason) {
      const passing = [Code.Unavailable, Code.DeadlineExceeded, Code.Aborted].includes(ConnectError.from(reason).code)
      if (signal.aborted || !passing || ++failures > WATCH_FAILURES_MAX) throw reason
    }
    await new Promise(resolve => setTimeout(resolve, WATCH_PAUSE_MS))
  }
}

function print(item: GarbageCollectionItem): 1 {
  if (item.state === ItemState.DONE) process.stdout.write(`${named(item)} has been permanently deleted.\n`)
  else process.stderr.write(`${named(item)} has not been deleted: ${item.error}\n`)
  return 1
}

function checkEnd(job: GarbageCollection): void {
  if (job.failedItems > 0) throw new Error(`${job.failedItems} of ${job.totalItems} could not be deleted`)
}

function named(item: GarbageCollectionItem): string {
  return `${KIND_NAMES[item.kind]} with ID ${item.id}`
}

function plainErrors<T>(work: () => T): T {
  try {
    return work()
  } catch (reason) {
    throw plainError(reason, message => message)
  }
}

/** An error whose text has no RPC code in front. */
function plainError(reason: unknown, reword: (message: string) => string): Error {
  if (!(reason instanceof ConnectError)) return reason instanceof Error ? reason : new Error(String(reason))
  if (reason.code === Code.Unimplemented)
    return new Error('The server does not offer garbage collection: it is not Millrace', { cause: reason })
  const message = toMlflowError(reason).rawMessage
  const hint = message.endsWith('in use by another process') ? ', such as a running server: give its address with --tracking-uri' : ''
  return new Error(reword(message) + hint)
}
