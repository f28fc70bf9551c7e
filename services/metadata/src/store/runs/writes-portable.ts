import type { Caller } from '@millrace/kit/call-context'
import { MlflowError } from '@millrace/kit/errors'
import { sql } from 'kysely'
import { isUniqueViolation } from '../db/errors.ts'
import { type Database, type Executor, runEach, wide } from '../db.ts'
import type { Fragment } from '../dialects/dialect.ts'
import { type Entry, writtenRowsMax } from '../grouped-calls.ts'
import { placeOf, type StoredLoggedModelPoint } from '../logged-models/points.ts'
import { WriteLanes } from '../write-lanes.ts'
import { apartByRun, type RunOp, weighRunOp } from './groups.ts'
import { type Known, pairKey, WritePlan } from './write-plan.ts'
import type { LogEntry, NewRun, RunChange, RunRow, RunWrites } from './writes.ts'

type Result = string | RunRow | undefined
type Outcome = { result: Result; failure?: undefined } | { failure: MlflowError }

/** Another program may write a param between the look at it and the insert; the next attempt sees it. */
const ATTEMPTS_MAX = 3

/**
 * Writes runs on any database: a group is one transaction that locks what it is about, reads what it has to know, and writes one table
 * after the other.
 */
export class PortableRunWrites implements RunWrites {
  readonly #db: Database
  readonly #lanes: WriteLanes<RunOp, Result>

  constructor(db: Database) {
    this.#db = db
    const send = (group: readonly Entry<RunOp, Result>[]) => this.#send(group)
    this.#lanes = new WriteLanes({ send, weigh: weighRunOp, weightMax: writtenRowsMax, keepApart: () => apartByRun(false) })
  }

  async log(log: LogEntry, caller?: Caller): Promise<void> {
    await this.#lanes.submit(log.runId, { log }, caller)
  }

  create(create: NewRun, caller?: Caller): Promise<string> {
    return this.#lanes.submit(create.runId, { create }, caller) as Promise<string>
  }

  update(change: RunChange, caller?: Caller): Promise<RunRow> {
    return this.#lanes.submit(change.runId, { change }, caller) as Promise<RunRow>
  }

  async #send(group: readonly Entry<RunOp, Result>[]): Promise<void> {
    const outcomes = await this.#commit(group.map(({ op }) => op))
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.failure) group[i]?.reject(outcome.failure)
      else group[i]?.resolve(outcome.result)
    }
  }

  async #commit(ops: readonly RunOp[]): Promise<Outcome[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#db.transaction(tx => this.#write(tx, ops))
      } catch (reason) {
        if (attempt === ATTEMPTS_MAX || !isUniqueViolation(reason)) throw reason
      }
    }
  }

  async #write(tx: Executor, ops: readonly RunOp[]): Promise<Outcome[]> {
    const plan = new WritePlan(await this.#known(tx, ops))
    const outcomes = ops.map(op => attempt(plan, op))
    const { dialect: d } = this.#db
    const statements = [
      d.insert('runs', plan.runs),
      d.insert('tags', plan.firstTags),
      d.insert('params', plan.params),
      d.insertNew('metrics', ['key', 'timestamp', 'step', 'run_uuid', 'value', 'is_nan'], plan.metrics),
      d.upsert({ table: 'latest_metrics', key: ['key', 'run_uuid'], rows: plan.latest, whenGreater: ['step', 'timestamp', 'value'] }),
      d.insertNew('logged_model_metrics', POINT_KEY, plan.loggedModelMetrics),
      d.upsert({ table: 'tags', key: ['key', 'run_uuid'], rows: plan.tags }),
      plan.changes.flatMap(changeSql),
    ]
    await runEach(tx, statements.flat(), this.#db)
    for (const [i, { change }] of ops.entries()) {
      const outcome = outcomes[i]
      if (change && outcome && !outcome.failure) outcome.result = (await this.#all<RunRow>(tx, runSql(change.runId)))[0]
    }
    return outcomes
  }

  async #known(tx: Executor, ops: readonly RunOp[]): Promise<Known> {
    const { dialect: d } = this.#db
    const experimentIds = [...new Set(ops.flatMap(({ create }) => (create ? [BigInt(create.experimentId)] : [])))]
    const runIds = [...new Set(ops.flatMap(op => (op.create ? [] : [op.change ? op.change.runId : op.log.runId])))]
    const logs = ops.flatMap(op => (op.create || op.change ? [] : [op.log]))
    const params = logs.filter(log => log.params.length > 0)
    const share = d.rowLock('share')
    const change = d.rowLock('change')
    // Experiments first, as whoever deletes one does.
    const experiments = await this.#some<{ experiment_id: number; lifecycle_stage: string; artifact_location: string | null }>(
      tx,
      experimentIds,
      sql`SELECT experiment_id, lifecycle_stage, artifact_location FROM experiments ${share.hint}
        WHERE ${d.oneOfIds(sql`experiment_id`, experimentIds)} ORDER BY experiment_id ${share.end}`,
    )
    const runs = await this.#some<{ run_uuid: string; lifecycle_stage: string; experiment_id: number }>(
      tx,
      runIds,
      sql`SELECT run_uuid, lifecycle_stage, experiment_id FROM runs ${change.hint}
        WHERE ${d.oneOf(sql`run_uuid`, runIds)} ORDER BY run_uuid ${change.end}`,
    )
    const keys = [...new Set(params.flatMap(log => log.params.map(({ key }) => key)))]
    const values = await this.#some<{ run_uuid: string; key: string; value: string }>(
      tx,
      params,
      sql`SELECT p.run_uuid, p."key", p.value FROM params p
        WHERE ${d.oneOf(
          sql`p.run_uuid`,
          params.map(log => log.runId),
        )} AND ${d.oneOf(sql`p."key"`, keys)}`,
    )
    return {
      experiments: new Map(experiments.map(row => [Number(row.experiment_id), row])),
      runs: new Map(runs.map(row => [row.run_uuid, row])),
      params: new Map(values.map(row => [pairKey(row.run_uuid, row.key), row.value])),
      ...(await this.#knownLoggedModels(tx, logs)),
    }
  }

  async #knownLoggedModels(tx: Executor, logs: readonly LogEntry[]): Promise<Pick<Known, 'loggedModels' | 'points'>> {
    const { dialect: d } = this.#db
    const metrics = logs.flatMap(log => log.metrics.filter(metric => metric.model))
    const ids = [...new Set(metrics.map(metric => metric.model?.modelId ?? ''))]
    const named = d.oneOf(sql`model_id`, ids)
    const models = await this.#some<{ model_id: string }>(tx, ids, sql`SELECT model_id FROM logged_models WHERE ${named}`)
    const points = new Map<string, StoredLoggedModelPoint>()
    for (const { runId, metrics } of logs) {
      const own = metrics.filter(metric => metric.model)
      if (own.length === 0) continue
      const steps = range(own.map(metric => metric.step))
      const times = range(own.map(metric => metric.timestamp))
      const found = await this.#all<StoredPoint>(
        tx,
        sql`SELECT model_id, metric_name, metric_timestamp_ms, metric_step, metric_value, dataset_name, dataset_digest
          FROM logged_model_metrics WHERE run_id = ${runId} AND ${named} AND ${d.oneOf(
            sql`metric_name`,
            own.map(({ key }) => key),
          )}
          AND metric_step BETWEEN ${steps.least} AND ${steps.most}
          AND metric_timestamp_ms BETWEEN ${times.least} AND ${times.most}`,
      )
      for (const row of found) {
        points.set(pairKey(runId, placeOf(row.model_id, row.metric_name, row.metric_timestamp_ms, row.metric_step)), row)
      }
    }
    return { loggedModels: new Set(models.map(row => row.model_id)), points }
  }

  /** Rows of a SELECT about `what`, none when that is empty. */
  async #some<T>(tx: Executor, what: readonly unknown[], select: Fragment): Promise<T[]> {
    return what.length > 0 ? this.#all<T>(tx, select) : []
  }

  #all<T>(tx: Executor, select: Fragment): Promise<T[]> {
    return tx.all<T>(wide(select.compile(this.#db.kysely) as never))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lanes[Symbol.asyncDispose]()
  }
}

type StoredPoint = StoredLoggedModelPoint & { model_id: string; metric_name: string; metric_timestamp_ms: bigint; metric_step: bigint }

const POINT_KEY = ['model_id', 'metric_name', 'metric_timestamp_ms', 'metric_step', 'run_id']

function range(values: readonly bigint[]): { least: bigint; most: bigint } {
  const sorted = values.toSorted((a, b) => (a < b ? -1 : 1))
  return { least: sorted[0] ?? 0n, most: sorted.at(-1) ?? 0n }
}

function attempt(plan: WritePlan, op: RunOp): Outcome {
  try {
    if (op.create) return { result: plan.create(op.create) }
    if (op.change) plan.change(op.change)
    else plan.log(op.log)
    return { result: undefined }
  } catch (reason) {
    if (reason instanceof MlflowError) return { failure: reason }
    throw reason
  }
}

function changeSql({ runId, status, endTime, name }: RunChange): Fragment[] {
  const values = Object.entries({ status, end_time: endTime, name: name || undefined }).filter(([, value]) => value !== undefined)
  if (values.length === 0) return []
  const set = values.map(([column, value]) => sql`${sql.ref(column)} = ${value}`)
  return [sql`UPDATE runs SET ${sql.join(set)} WHERE run_uuid = ${runId}`]
}

const runSql = (runId: string) => sql`SELECT run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri,
  experiment_id FROM runs WHERE run_uuid = ${runId}`
