import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@connectrpc/connect'
import { createLogger } from '@millrace/kit/logger'
import { createDirectTransport } from '@millrace/kit/rpc'
import { type GarbageCollectionItem, GarbageCollectionService, ItemState } from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import { MultipartUploadService } from '@millrace/proto/millrace/jobs/v1/multipart_uploads_pb'
import pg from 'pg'
import type { ControlTarget } from '../../../prisma/control/target.ts'
import { readTestConfig } from '../../../test/services/config.ts'
import type { GcWorkerConfig } from '../src/config.ts'
import { type GcWorkerDependencies, openGcWorker } from '../src/service.ts'
import type { Timings } from '../src/timings.ts'
import type { World } from './world.ts'

const { postgresUrl, redisUrl } = readTestConfig()

export { redisUrl }

/** Whether the test run has these servers; globalSetup names the ones that are absent. */
export function has(...names: ('sqlite' | 'in-process' | 'postgresql' | 'redis')[]): boolean {
  return names.every(
    name => (name === 'postgresql' && postgresUrl) || (name === 'redis' && redisUrl) || name === 'sqlite' || name === 'in-process',
  )
}

export const FAST: Partial<Timings> = {
  leaseMs: 900,
  sweepMs: 150,
  expirySweepMs: 200,
  startDelayMs: 50,
  doorbellPatienceMs: 600,
  heartbeatMs: 200,
  silenceMs: 3_000,
  retryMs: 100,
}
export const silent = createLogger({ level: 'silent' })

export interface TestDatabase extends AsyncDisposable {
  readonly target: ControlTarget
}

export async function sqliteDatabase(): Promise<TestDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-control-'))
  const target = { provider: 'sqlite', path: join(folder, 'millrace.db') } as const
  return { target, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
}

export async function postgresDatabase(): Promise<TestDatabase> {
  const name = `gc_test_${randomUUID().slice(0, 8)}`
  const admin = async (sql: string) => {
    const client = new pg.Client({ connectionString: postgresUrl, connectionTimeoutMillis: 5_000 })
    await client.connect()
    await client.query(sql)
    await client.end()
  }
  await admin(`CREATE DATABASE ${name}`)
  const url = new URL(postgresUrl ?? '')
  url.pathname = `/${name}`
  const target = { provider: 'postgresql', url: url.href } as const
  return { target, [Symbol.asyncDispose]: () => admin(`DROP DATABASE ${name} WITH (FORCE)`) }
}

export const databases = { sqlite: sqliteDatabase, postgresql: postgresDatabase }

export function configFor(control: ControlTarget, more: Partial<GcWorkerConfig> = {}): GcWorkerConfig {
  return {
    artifactsOnly: false,
    control,
    redisPrefix: `gc-test-${randomUUID().slice(0, 8)}`,
    concurrency: 2,
    uploadExpiryMs: 3_600_000,
    ...more,
  }
}

export async function openWorker(
  world: World,
  config: GcWorkerConfig,
  timings: Partial<Timings> = {},
  more: Partial<GcWorkerDependencies> = {},
) {
  const deps = { metadata: createDirectTransport(world.metadata), artifacts: createDirectTransport(world.artifacts), log: silent, ...more }
  const worker = await openGcWorker(config, deps, { timings: { ...FAST, ...timings } })
  const transport = createDirectTransport(worker.routes)
  return {
    worker,
    gc: createClient(GarbageCollectionService, transport),
    uploads: createClient(MultipartUploadService, transport),
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  }
}

export type GcClient = Awaited<ReturnType<typeof openWorker>>['gc']

/** Watches a job to its end. */
export async function watch(gc: GcClient, jobId: string) {
  const items: GarbageCollectionItem[] = []
  for await (const { job, item } of gc.watchGarbageCollection({ jobId })) {
    if (item) items.push(item)
    else if (job) return { job, items, done: items.filter(one => one.state === ItemState.DONE).map(one => one.id) }
  }
  throw new Error('the watch ended before the job')
}

export async function collect(gc: GcClient, request: Parameters<GcClient['startGarbageCollection']>[0] = {}) {
  const { job } = await gc.startGarbageCollection(request)
  return watch(gc, job?.jobId ?? '')
}

export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
