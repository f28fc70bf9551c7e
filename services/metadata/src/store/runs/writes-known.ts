import { sql } from 'kysely'
import { type Database, type Executor, wide } from '../db.ts'
import type { Fragment } from '../dialects/dialect.ts'
import { placeOf, type StoredLoggedModelPoint } from '../logged-models/points.ts'
import type { RunOp } from './groups.ts'
import type { LogEntry } from './writes.ts'

/** What the database has of all that a group of writes is about. */
export interface Known {
  runs: ReadonlyMap<string, { lifecycle_stage: string; experiment_id: number | bigint }>
  experiments: ReadonlyMap<number, { experiment_id: number; lifecycle_stage: string; artifact_location: string | null }>
  /** Values by run and key. */
  params: ReadonlyMap<string, string>
  loggedModels: ReadonlySet<string>
  /** By run and place. */
  points: ReadonlyMap<string, StoredLoggedModelPoint>
}

export const pairKey = (first: string, second: string) => JSON.stringify([first, second])

/** Locks the runs and the experiments of new runs, and reads what the group has to know. */
export async function readKnown(db: Database, tx: Executor, ops: readonly RunOp[]): Promise<Known> {
  const d = db.dialect
  const experimentIds = distinct(ops.flatMap(({ create }) => (create ? [BigInt(create.experimentId)] : [])))
  const runIds = distinct(ops.flatMap(op => (op.create ? [] : [op.change ? op.change.runId : op.log.runId])))
  const logs = ops.flatMap(op => (op.create || op.change ? [] : [op.log]))
  const paramRuns = logs.filter(log => log.params.length > 0).map(log => log.runId)
  const paramKeys = distinct(logs.flatMap(log => log.params.map(({ key }) => key)))
  const share = d.rowLock('share')
  const change = d.rowLock('change')
  const some = async <T>(what: readonly unknown[], select: Fragment) => (what.length > 0 ? all<T>(db, tx, select) : [])
  // Experiments first, as whoever deletes one does.
  const experiments = await some<{ experiment_id: number; lifecycle_stage: string; artifact_location: string | null }>(
    experimentIds,
    sql`SELECT experiment_id, lifecycle_stage, artifact_location FROM experiments ${share.hint}
      WHERE ${d.oneOfIds(sql`experiment_id`, experimentIds)} ORDER BY experiment_id ${share.end}`,
  )
  const runs = await some<{ run_uuid: string; lifecycle_stage: string; experiment_id: number }>(
    runIds,
    sql`SELECT run_uuid, lifecycle_stage, experiment_id FROM runs ${change.hint}
      WHERE ${d.oneOf(sql`run_uuid`, runIds)} ORDER BY run_uuid ${change.end}`,
  )
  const params = await some<{ run_uuid: string; key: string; value: string }>(
    paramRuns,
    sql`SELECT p.run_uuid, p."key", p.value FROM params p
      WHERE ${d.oneOf(sql`p.run_uuid`, paramRuns)} AND ${d.oneOf(sql`p."key"`, paramKeys)}`,
  )
  return {
    experiments: new Map(experiments.map(row => [Number(row.experiment_id), row])),
    runs: new Map(runs.map(row => [row.run_uuid, row])),
    params: new Map(params.map(row => [pairKey(row.run_uuid, row.key), row.value])),
    ...(await knownLoggedModels(db, tx, logs)),
  }
}

type StoredPoint = StoredLoggedModelPoint & { model_id: string; metric_name: string; metric_timestamp_ms: bigint; metric_step: bigint }

async function knownLoggedModels(db: Database, tx: Executor, logs: readonly LogEntry[]): Promise<Pick<Known, 'loggedModels' | 'points'>> {
  const d = db.dialect
  const loggedModels = new Set<string>()
  const points = new Map<string, StoredLoggedModelPoint>()
  for (const { runId, metrics } of logs) {
    const own = metrics.filter(metric => metric.model)
    if (own.length === 0) continue
    const ids = distinct(own.map(metric => metric.model?.modelId ?? ''))
    const keys = distinct(own.map(metric => metric.key))
    const named = d.oneOf(sql`model_id`, ids)
    for (const row of await all<{ model_id: string }>(db, tx, sql`SELECT model_id FROM logged_models WHERE ${named}`)) {
      loggedModels.add(row.model_id)
    }
    const found = await all<StoredPoint>(
      db,
      tx,
      sql`SELECT model_id, metric_name, metric_timestamp_ms, metric_step, metric_value, dataset_name, dataset_digest
        FROM logged_model_metrics WHERE run_id = ${runId} AND ${named} AND ${d.oneOf(sql`metric_name`, keys)}
        AND ${between(
          'metric_step',
          own.map(metric => metric.step),
        )} AND ${between(
          'metric_timestamp_ms',
          own.map(metric => metric.timestamp),
        )}`,
    )
    for (const row of found) {
      points.set(pairKey(runId, placeOf(row.model_id, row.metric_name, row.metric_timestamp_ms, row.metric_step)), row)
    }
  }
  return { loggedModels, points }
}

function between(column: string, values: readonly bigint[]): Fragment {
  const sorted = values.toSorted((a, b) => (a < b ? -1 : 1))
  return sql`${sql.ref(column)} BETWEEN ${sorted[0]} AND ${sorted.at(-1)}`
}

const distinct = <T>(values: readonly T[]): T[] => [...new Set(values)]

const all = <T>(db: Database, tx: Executor, select: Fragment): Promise<T[]> => tx.all<T>(wide(select.compile(db.kysely) as never))
