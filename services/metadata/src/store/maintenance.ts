import { invalidParameter, invalidState } from '@millrace/kit/errors'
import { sql } from 'kysely'
import { type Database, type Executor, runEach, wide } from './db.ts'
import type { Dialect, Fragment } from './dialects/dialect.ts'
import { Purge } from './purge.ts'
import { EXPERIMENT_MARK_KEY, RUN_IS_BEING_REMOVED, RUN_MARK } from './removal-marks.ts'

export interface RunLocation {
  run_uuid: string
  experiment_id: bigint
  artifact_uri: string | null
  lifecycle_stage: string
  deleted_time: bigint | null
  /** Whether its removal has begun; 0 or 1. */
  being_removed: bigint
}

export interface ExperimentLocation {
  experiment_id: bigint
  name: string
  artifact_location: string | null
  lifecycle_stage: string
  last_update_time: bigint | null
  being_removed: bigint
}

export interface LoggedModelLocation {
  model_id: string
  experiment_id: bigint
  artifact_location: string
  lifecycle_stage: string
  last_updated_timestamp_ms: bigint
}

export interface EndedJob {
  id: string
  creation_time: bigint
}

/** A place in a list that is ordered by a time and an id. */
export interface TimePlace {
  time: bigint
  id: string
}

/** What was deleted, and its rows removed for good. Everything is sorted, may be repeated, and leaves what is active alone. */
export class Maintenance {
  readonly #db: Database
  readonly #dialect: Dialect
  readonly #purge: Purge

  constructor(db: Database) {
    this.#db = db
    this.#dialect = db.dialect
    this.#purge = new Purge(db)
  }

  /** Deleted runs, oldest deletion first; one without a time of deletion, as old versions left them, counts as the oldest. */
  deletedRuns(before: bigint | undefined, experimentIds: readonly bigint[], limit: number, after?: TimePlace): Promise<RunLocation[]> {
    const time = sql`coalesce(deleted_time, 0)`
    return this.#all(sql`${this.#runs()} WHERE lifecycle_stage = 'deleted'
      ${and(before !== undefined && sql`${time} <= ${before}`)} ${and(experimentIds.length > 0 && this.#ids('experiment_id', experimentIds))}
      ${and(after && sql`(${time} > ${after.time} OR (${time} = ${after.time} AND run_uuid > ${after.id}))`)}
      ORDER BY ${time}, run_uuid ${this.#dialect.page(limit)}`)
  }

  deletedExperiments(before: bigint | undefined, limit: number, afterId = -1n): Promise<ExperimentLocation[]> {
    return this.#all(sql`${this.#experiments()} WHERE lifecycle_stage = 'deleted' AND experiment_id > ${afterId}
      ${and(before !== undefined && sql`last_update_time < ${before}`)} ORDER BY experiment_id ${this.#dialect.page(limit)}`)
  }

  /** Deleted models, oldest deletion first; with `modelIds` or `experimentIds` those in any stage. */
  deletedLoggedModels(
    filter: { before?: bigint; modelIds: readonly string[]; experimentIds: readonly bigint[] },
    limit: number,
    after?: TimePlace,
  ): Promise<LoggedModelLocation[]> {
    const { before, modelIds, experimentIds } = filter
    const time = sql`last_updated_timestamp_ms`
    const named = modelIds.length > 0 && this.#dialect.oneOf(sql`model_id`, modelIds)
    const anyStage = modelIds.length > 0 || experimentIds.length > 0
    return this.#all(sql`${this.#loggedModels} WHERE ${anyStage ? sql`1 = 1` : sql`lifecycle_stage = 'deleted'`} ${and(named)}
      ${and(before !== undefined && sql`${time} <= ${before}`)} ${and(experimentIds.length > 0 && this.#ids('experiment_id', experimentIds))}
      ${and(after && sql`(${time} > ${after.time} OR (${time} = ${after.time} AND model_id > ${after.id}))`)}
      ORDER BY ${time}, model_id ${this.#dialect.page(limit)}`)
  }

  /** Jobs that have ended, oldest first. */
  endedJobs(filter: { before?: bigint; ids: readonly string[] }, limit: number, after?: TimePlace): Promise<EndedJob[]> {
    const { before, ids } = filter
    return this.#all(sql`SELECT id, creation_time FROM jobs WHERE ${ENDED}
      ${and(ids.length > 0 && this.#dialect.oneOf(sql`id`, ids))} ${and(before !== undefined && sql`creation_time < ${before}`)}
      ${and(after && sql`(creation_time > ${after.time} OR (creation_time = ${after.time} AND id > ${after.id}))`)}
      ORDER BY creation_time, id ${this.#dialect.page(limit)}`)
  }

  runs(runIds: readonly string[]): Promise<RunLocation[]> {
    return this.#all(sql`${this.#runs()} WHERE ${this.#dialect.oneOf(sql`run_uuid`, runIds)} ORDER BY run_uuid`)
  }

  experiments(ids: readonly bigint[]): Promise<ExperimentLocation[]> {
    return this.#all(sql`${this.#experiments()} WHERE ${this.#ids('experiment_id', ids)} ORDER BY experiment_id`)
  }

  /**
   * Marks deleted runs as being removed, in one transaction with the look at their stage: from then on none can be restored.
   * @returns those that are there.
   * @throws INVALID_PARAMETER_VALUE when one of them is active, or unmarked and deleted after `before`; then none is marked.
   */
  beginRuns(runIds: readonly string[], before?: bigint): Promise<RunLocation[]> {
    const named = this.#dialect.oneOf(sql`run_uuid`, runIds)
    const lock = this.#dialect.rowLock('change')
    return this.#db.transaction(async tx => {
      const found = await this.#in<RunLocation>(tx, sql`${this.#runs(lock.hint)} WHERE ${named} ORDER BY run_uuid ${lock.end}`)
      for (const run of found) {
        if (run.lifecycle_stage !== 'deleted') throw notDeleted('Run', run.run_uuid, 'runs')
        const isYoung = before !== undefined && (run.deleted_time ?? 0n) > before
        if (isYoung && !run.being_removed) throw deletedAgain('Run', run.run_uuid)
      }
      await tx.run(sql`UPDATE runs SET entry_point_name = ${RUN_MARK} WHERE ${named}`.compile(this.#db.kysely))
      return found
    })
  }

  /**
   * Like beginRuns, for one experiment. Every run and model in it has to be removed before, but active models go along.
   * @throws INVALID_STATE when it has runs.
   */
  beginExperiment(id: bigint, before?: bigint): Promise<ExperimentLocation | undefined> {
    return this.#markExperiment(id, async (tx, found) => {
      const isYoung = before !== undefined && (found.last_update_time ?? before) >= before
      if (isYoung && !found.being_removed) throw deletedAgain('Experiment', String(id))
      const left = sql`${this.#runs()} WHERE experiment_id = ${id} ORDER BY lifecycle_stage, run_uuid ${this.#dialect.page(RUNS_NAMED_MAX)}`
      const runs = await this.#in<RunLocation>(tx, left)
      if (runs.length > 0) throw hasRuns(id, runs)
    })
  }

  async #markExperiment(id: bigint, check: (tx: Executor, found: ExperimentLocation) => Promise<void>) {
    const lock = this.#dialect.rowLock('change')
    return this.#db.transaction(async tx => {
      const [found] = await this.#in<ExperimentLocation>(tx, sql`${this.#experiments(lock.hint)} WHERE experiment_id = ${id} ${lock.end}`)
      if (!found) return undefined
      if (found.lifecycle_stage !== 'deleted') throw notDeleted('Experiment', String(id), 'experiments')
      await check(tx, found)
      const mark = { experiment_id: id, key: EXPERIMENT_MARK_KEY, value: '' }
      await runEach(tx, this.#dialect.insertNew('experiment_tags', ['key', 'experiment_id'], [mark]), this.#db)
      return found
    })
  }

  /** Removes deleted runs, which can't be restored from then on; those that are gone count as done. @returns how many. @throws as beginRuns. */
  async purgeRuns(runIds: readonly string[]): Promise<number> {
    let purged = 0
    for (const { run_uuid: id } of await this.beginRuns(runIds)) {
      if (await this.#purge.run(id, { table: 'runs', where: sql`run_uuid = ${id} AND ${sql.raw(RUN_IS_BEING_REMOVED)}` })) purged++
    }
    return purged
  }

  /** Removes those of the jobs that have ended, with the locks that they hold. @returns how many. */
  purgeJobs(ids: readonly string[]): Promise<number> {
    return this.#db.transaction(tx => this.#purge.delete(tx, 'jobs', sql`${ENDED} AND ${this.#dialect.oneOf(sql`id`, ids)}`))
  }

  /** Like purgeRuns, for logged models. */
  async purgeLoggedModels(modelIds: readonly string[]): Promise<number> {
    const found = await this.#all<LoggedModelLocation>(
      sql`${this.#loggedModels} WHERE ${this.#dialect.oneOf(sql`model_id`, modelIds)} ORDER BY model_id`,
    )
    const active = found.find(model => model.lifecycle_stage !== 'deleted')
    if (active) throw notDeleted('Logged model', active.model_id, 'logged models')
    let purged = 0
    for (const { model_id: id } of found) {
      if (await this.#purge.loggedModel(id, { table: 'logged_models', where: sql`model_id = ${id} AND lifecycle_stage = 'deleted'` }))
        purged++
    }
    return purged
  }

  /**
   * Removes a deleted experiment with its runs, models, data sets, traces and everything else that names it.
   * @returns false when it was gone already.
   * @throws INVALID_PARAMETER_VALUE when it is active; then nothing is removed.
   */
  async purgeExperiment(id: bigint): Promise<boolean> {
    if (!(await this.#markExperiment(id, async () => {}))) return false
    const guard = { table: 'experiments', where: sql`experiment_id = ${id} AND lifecycle_stage = 'deleted'` }
    for (const { run_uuid } of await this.#all<RunLocation>(sql`${this.#runs()} WHERE experiment_id = ${id} ORDER BY run_uuid`)) {
      await this.#purge.run(run_uuid, guard)
    }
    for (const { model_id } of await this.#all<LoggedModelLocation>(
      sql`${this.#loggedModels} WHERE experiment_id = ${id} ORDER BY model_id`,
    )) {
      await this.#purge.loggedModel(model_id, guard)
    }
    await this.#purge.traces(id, guard)
    for (const name of ['logged_model_metrics', 'spans', ...ROLLUPS]) await this.#purge.chunks(name, sql`experiment_id = ${id}`, guard)
    return this.#db.transaction(async tx => {
      if (!(await this.#purge.holds(tx, guard))) return false
      const ofExperiment = sql`experiment_id = ${id}`
      const datasets = sql`SELECT dataset_uuid FROM datasets WHERE ${ofExperiment}`
      await this.#purge.edges(tx, sql`source_type = 'DATASET' AND source_id IN (${datasets})`)
      await this.#purge.delete(tx, 'guardrails', sql`scorer_id IN (SELECT scorer_id FROM scorers WHERE ${ofExperiment})`)
      for (const name of OWNED) await this.#purge.delete(tx, name, ofExperiment)
      await this.#purge.associations(tx, 'experiment', sql`${String(id)}`)
      return (await this.#purge.delete(tx, 'experiments', ofExperiment)) > 0
    })
  }

  #all<T>(fragment: Fragment): Promise<T[]> {
    return this.#in(this.#db, fragment)
  }

  #in<T>(on: Executor, fragment: Fragment): Promise<T[]> {
    return on.all<T>(wide(fragment.compile(this.#db.kysely) as never))
  }

  #runs(hint = sql``): Fragment {
    const removed = this.#flag(sql.raw(RUN_IS_BEING_REMOVED))
    return sql`SELECT run_uuid, ${this.#id} AS experiment_id, artifact_uri, lifecycle_stage, deleted_time, ${removed} FROM runs ${hint}`
  }

  #experiments(hint = sql``): Fragment {
    const removed = this.#flag(sql`EXISTS (SELECT 1 FROM experiment_tags t
      WHERE t.experiment_id = experiments.experiment_id AND t."key" = ${sql.lit(EXPERIMENT_MARK_KEY)})`)
    return sql`SELECT ${this.#id} AS experiment_id, name, artifact_location, lifecycle_stage, last_update_time, ${removed} FROM experiments ${hint}`
  }

  get #loggedModels(): Fragment {
    return sql`SELECT model_id, ${this.#id} AS experiment_id, artifact_location, lifecycle_stage, last_updated_timestamp_ms FROM logged_models`
  }

  get #id(): Fragment {
    return this.#dialect.integer(sql`experiment_id`)
  }

  #flag(condition: Fragment): Fragment {
    return sql`${this.#dialect.integer(sql`CASE WHEN ${condition} THEN 1 ELSE 0 END`)} AS being_removed`
  }

  #ids = (column: string, ids: readonly bigint[]) => this.#dialect.oneOfIds(sql.raw(column), ids)
}

/** SUCCEEDED, FAILED, TIMEOUT and CANCELED as MLflow 3.17.2 numbers them (mlflow.entities.JobStatus). */
const ENDED = sql`status IN (2, 3, 4, 5)`

/** Tables that no foreign key ties to their experiment. */
const ROLLUPS = [
  'sql_trace_rollup_rebuild_queue',
  'sql_trace_metric_daily_rollups',
  'sql_span_cost_daily_rollups',
  'sql_assessment_daily_rollups',
]

/** Tables of small numbers of rows per experiment, children before parents. */
const OWNED = [
  'datasets',
  'experiment_tags',
  'issues',
  'review_queues',
  'label_schemas',
  'online_scoring_configs',
  'scorers',
  'assessments',
]

const and = (condition: Fragment | false | undefined) => (condition ? sql`AND ${condition}` : sql``)

/** Runs that a message names. */
const RUNS_NAMED_MAX = 3

/** Active ones first: nobody but a user can say whether they are to go. */
function hasRuns(id: bigint, runs: readonly RunLocation[]) {
  const active = runs.filter(run => run.lifecycle_stage !== 'deleted').map(run => run.run_uuid)
  if (active.length === 0) return invalidState(`Experiment ${id} still has runs that were not removed`)
  const which = `Experiment ${id} still has active runs that were not removed, such as ${active.join(', ')}`
  return invalidState(`${which}. Delete them, or restore the experiment.`)
}

function deletedAgain(noun: string, id: string) {
  return invalidParameter(`${noun} ${id} was restored and deleted again, so that it is not older than the required age.`)
}

function notDeleted(noun: string, id: string, nouns: string) {
  return invalidParameter(
    `${noun} ${id} is not in \`deleted\` lifecycle stage. Only ${nouns} in \`deleted\` lifecycle stage can be deleted.`,
  )
}
