import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Client, createClient, type Transport } from '@connectrpc/connect'
import { hostTargets } from '@millrace/artifacts/hosts'
import { MlflowError } from '@millrace/kit/errors'
import { createDirectTransport } from '@millrace/kit/rpc'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { type Metric, MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { RunService } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { describe } from 'vitest'
import { createDatabase, describeWith } from '../../../test/services/backends.ts'
import type { Overrides } from '../src/context.ts'
import { checkMetadata, type MetadataConfig, openMetadata } from '../src/service.ts'

export interface TestDatabase extends AsyncDisposable {
  readonly url: string
}

type Create = () => Promise<TestDatabase>

const POSTGRESQL_SCHEMA = fileURLToPath(new URL('../../../prisma/tracking/postgresql.sql', import.meta.url))

/** Runs the tests of `body` on SQLite and on PostgreSQL; `create` makes a database of their own, with MLflow's tables where that saves time. */
export function onEachDatabase(name: string, body: (create: Create) => void): void {
  describe(`${name} on SQLite`, () => body(createSqlite))
  describeWith(['postgres'], `${name} on PostgreSQL`, () => body(() => createDatabase('metadata', POSTGRESQL_SCHEMA)))
}

/** Like `onEachDatabase`; `create` makes an empty database. */
export function onEachEmptyDatabase(name: string, body: (create: Create) => void): void {
  describe(`${name} on SQLite`, () => body(createSqlite))
  describeWith(['postgres'], `${name} on PostgreSQL`, () => body(() => createDatabase('metadata')))
}

export type OpenWorld = (url: string, config?: Partial<MetadataConfig>) => Promise<World>

/** Like `onEachDatabase`, each with its own ways to read and to write runs and again with the portable ones. */
export function onEachWay(name: string, body: (create: Create, open: OpenWorld, portable: boolean) => void): void {
  onEachDatabase(name, create => body(create, openWorld, false))
  onEachDatabase(`${name}, in the portable way,`, create => {
    body(create, (url, config) => openWorld(url, config, { portable: true }), true)
  })
}

async function createSqlite(): Promise<TestDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-metadata-'))
  return { url: `sqlite:///${folder}/new/mlflow.db`, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
}

export interface World extends AsyncDisposable {
  readonly transport: Transport
  readonly experiments: Client<typeof ExperimentService>
  readonly runs: Client<typeof RunService>
  readonly metrics: Client<typeof MetricService>
  /** A run in a new experiment. */
  newRun(): Promise<{ experimentId: string; runId: string }>
  /** What a run holds: params and tags by key, latest metrics as [value, timestamp, step]. */
  read(runId: string): Promise<{ metrics: Record<string, unknown>; params: Record<string, unknown>; tags: Record<string, unknown> }>
  /** [step, timestamp, value] of every point in order. */
  history(runId: string, key: string): Promise<unknown[]>
}

/** The service on a database, through its clients. */
export async function openWorld(url: string, config: Partial<MetadataConfig> = {}, overrides: Overrides = {}): Promise<World> {
  const metadata = await openMetadata(
    { ...checkMetadata({ backendStoreUri: { value: url, source: 'test' } }, hostTargets), ...config },
    overrides,
  )
  const transport = createDirectTransport(metadata.routes)
  const experiments = createClient(ExperimentService, transport)
  const runs = createClient(RunService, transport)
  const metrics = createClient(MetricService, transport)
  return {
    transport,
    experiments,
    runs,
    metrics,
    async newRun() {
      const { experimentId = '' } = await experiments.createExperiment({ name: `experiment ${Math.random()}` })
      const { run } = await runs.createRun({ experimentId })
      return { experimentId, runId: run?.info?.runId ?? '' }
    },
    async read(runId) {
      const { data } = (await runs.getRun({ runId })).run ?? {}
      const pairs = (list: { key?: string; value?: string }[] = []) => Object.fromEntries(list.map(({ key, value }) => [key, value]))
      const latest = (list: Metric[] = []) => Object.fromEntries(list.map(m => [m.key, [m.value, m.timestamp, m.step]]))
      return { metrics: latest(data?.metrics), params: pairs(data?.params), tags: pairs(data?.tags) }
    },
    async history(runId, metricKey) {
      const answer = await metrics.getMetricHistory({ runId, metricKey })
      return answer.metrics.map(({ step, timestamp, value }) => [step, timestamp, value])
    },
    [Symbol.asyncDispose]: () => metadata[Symbol.asyncDispose](),
  }
}

/** `CODE: message` of the MlflowError that a call ends with. */
export async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call
  } catch (reason) {
    if (reason instanceof MlflowError) return `${reason.errorCode}: ${reason.rawMessage}`
    throw reason
  }
  return 'accepted'
}
