import type { Caller } from '@millrace/kit/call-context'
import { MlflowError } from '@millrace/kit/errors'
import { sql } from 'kysely'
import { isUniqueViolation } from '../db/errors.ts'
import { type Database, type Executor, runEach, wide } from '../db.ts'
import type { Fragment } from '../dialects/dialect.ts'
import { type Entry, WRITTEN_ROWS_MAX } from '../grouped-calls.ts'
import { WriteLanes } from '../write-lanes.ts'
import { apartByRun, type RunOp, weighRunOp } from './groups.ts'
import type { LogEntry, NewRun, RunChange, RunRow, RunWrites } from './writes.ts'
import { readKnown } from './writes-known.ts'
import { WritePlan } from './writes-plan.ts'

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
    this.#lanes = new WriteLanes({ send, weigh: weighRunOp, weightMax: WRITTEN_ROWS_MAX, keepApart: () => apartByRun(false) })
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
    const plan = new WritePlan(await readKnown(this.#db, tx, ops))
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

  #all<T>(tx: Executor, select: Fragment): Promise<T[]> {
    return tx.all<T>(wide(select.compile(this.#db.kysely) as never))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lanes[Symbol.asyncDispose]()
  }
}

const POINT_KEY = ['model_id', 'metric_name', 'metric_timestamp_ms', 'metric_step', 'run_id']

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
