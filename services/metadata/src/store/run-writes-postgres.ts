import { doesNotExist, MlflowError } from '@millrace/kit/errors'
import { appendToUriPath } from './artifact-uri.ts'
import { retrying } from './db/retry.ts'
import { type PostgresDatabase, statement } from './db.ts'
import { checkActive } from './experiments.ts'
import { type Entry, GroupedCalls, writtenRowsMax } from './grouped-calls.ts'
import { checkSame, modelPoints, placeOf, type StoredModelPoint } from './model-points.ts'
import { createRunsSql, createRunsValues, logQuery, updateRunSql } from './postgres-run-sql.ts'
import { checkRunActive, modelAbsent, type ParamConflict, paramsChanged, runAbsent } from './run-errors.ts'
import { artifactFolder, type LogEntry, type NewRun, type RunChange, type RunRow, type RunWrites } from './run-writes.ts'

/** Groups at once, each on a connection: while the server syncs one commit it works on the other. */
const lanes = 2

const findRun = statement<{ lifecycle_stage: string; experiment_id: number }>(
  'SELECT lifecycle_stage, experiment_id FROM runs WHERE run_uuid = $1',
)
const findExperiment = statement<{ experiment_id: number; lifecycle_stage: string; artifact_location: string | null }>(
  'SELECT experiment_id, lifecycle_stage, artifact_location FROM experiments WHERE experiment_id = $1',
)
const findModels = statement<{ model_id: string }>('SELECT model_id FROM logged_models WHERE model_id = ANY($1::text[])')
const findModelPoints = statement<StoredModelPoint & { model_id: string; metric_name: string; time: string; step: string }>(
  'SELECT model_id, metric_name, metric_timestamp_ms::text AS time, metric_step::text AS step, metric_value, dataset_name, dataset_digest ' +
    'FROM logged_model_metrics WHERE run_id = $1 AND (model_id, metric_name, metric_timestamp_ms, metric_step) IN ' +
    '(SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]))',
)
const putModelMetrics = statement(
  'INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, metric_step, metric_value, dataset_name, dataset_digest, ' +
    'experiment_id, run_id) SELECT m.*, $8::int, $9 FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[], $6::text[], ' +
    '$7::text[]) m ON CONFLICT DO NOTHING',
)
const updateRun = statement<RunRow>(updateRunSql, { wide: true })
const createRuns = statement<{ run_uuid: string }>(createRunsSql)

interface Logged {
  run_uuid: string
  lifecycle_stage: string
  /** [key, old value] of the params that have another value already. */
  conflicts?: [string, string][] | null
  /** Params of the whole group that another process wrote in the same moment. */
  overtaken?: number
}

interface NewRunAt extends NewRun {
  location: string | null
  uri: string
}

/** A group is one statement, so one round trip and one commit. */
export class PostgresRunWrites implements RunWrites {
  readonly #db: PostgresDatabase
  readonly #logs: GroupedCalls<LogEntry, void>[]
  readonly #creates: GroupedCalls<NewRunAt, boolean>
  /** Where experiments keep artifacts; the insert checks that it is still so. */
  readonly #locations = new Map<number, string | null>()

  constructor(db: PostgresDatabase) {
    this.#db = db
    const lane = () =>
      new GroupedCalls<LogEntry, void>({
        send: group => this.#log(group),
        weigh: entry => entry.metrics.length + entry.params.length + entry.tags.length,
        weightMax: writtenRowsMax,
        conflicts: (entry, group) => group.some(({ op }) => op.runId === entry.runId && op.params.length + entry.params.length > 0),
      })
    this.#logs = Array.from({ length: lanes }, lane)
    this.#creates = new GroupedCalls({ send: group => this.#create(group), weigh: run => run.tags.length + 1, weightMax: writtenRowsMax })
  }

  async log(entry: LogEntry): Promise<void> {
    const models = entry.metrics.some(metric => metric.model)
    const experimentId = models ? await this.#checkRun(entry.runId) : 0
    const refused = models ? await this.#checkModels(entry) : undefined
    if (refused && !entry.batch) throw refused
    await this.#laneOf(entry.runId).submit(refused ? { ...entry, tags: [] } : entry)
    if (refused) throw refused
    if (models) await this.#putModelMetrics(entry, experimentId)
  }

  async create(run: NewRun): Promise<string> {
    const cached = this.#locations.get(run.experimentId)
    const location = cached === undefined ? await this.#locate(run.experimentId) : cached
    const uri = appendToUriPath(location ?? '', run.runId, artifactFolder)
    if (await this.#creates.submit({ ...run, location, uri })) return uri
    this.#locations.delete(run.experimentId)
    await this.#locate(run.experimentId)
    return this.create(run)
  }

  async update({ runId, status, endTime, name }: RunChange): Promise<RunRow> {
    const rows = await retrying(() => this.#db.all(updateRun(runId, status ?? null, endTime ?? null, name || null)))
    if (rows[0]) return rows[0]
    await this.#checkRun(runId)
    throw runAbsent(runId)
  }

  async #log(group: readonly Entry<LogEntry, void>[]): Promise<void> {
    const rows = await retrying(() => this.#db.all(logQuery<Logged>(group.map(({ op }) => op))))
    const known = new Map(rows.map(row => [row.run_uuid, row]))
    const overtaken = (rows[0]?.overtaken ?? 0) > 0
    for (const entry of group) {
      try {
        checkLogged(entry.op, known.get(entry.op.runId))
        if (overtaken && entry.op.params.length > 0) await this.#log([entry])
        else entry.resolve()
      } catch (reason) {
        entry.reject(reason)
      }
    }
  }

  async #create(group: readonly Entry<NewRunAt, boolean>[]): Promise<void> {
    const values = createRunsValues(group.map(({ op }) => op))
    const made = new Set((await retrying(() => this.#db.all(createRuns(...values)))).map(row => row.run_uuid))
    for (const entry of group) entry.resolve(made.has(entry.op.runId))
  }

  #laneOf(runId: string): GroupedCalls<LogEntry, void> {
    let hash = 0
    for (let i = 0; i < runId.length; i++) hash = (hash * 31 + runId.charCodeAt(i)) | 0
    return this.#logs[Math.abs(hash) % lanes] as GroupedCalls<LogEntry, void>
  }

  /** The run's experiment. */
  async #checkRun(runId: string): Promise<number> {
    const run = await this.#db.get(findRun(runId))
    if (!run) throw runAbsent(runId)
    checkRunActive(runId, run.lifecycle_stage)
    return run.experiment_id
  }

  async #locate(experimentId: number): Promise<string | null> {
    const experiment = await this.#db.get(findExperiment(experimentId))
    if (!experiment) throw doesNotExist(`No Experiment with id=${experimentId} exists`)
    checkActive(experiment)
    this.#locations.set(experimentId, experiment.artifact_location)
    return experiment.artifact_location
  }

  /** Why models can't have their metrics, if so. */
  async #checkModels({ runId, metrics }: LogEntry): Promise<MlflowError | undefined> {
    try {
      const points = modelPoints(metrics)
      const ids = points.map(({ model }) => model.modelId)
      const known = new Set((await this.#db.all(findModels(ids))).map(row => row.model_id))
      for (const id of ids) if (!known.has(id)) throw modelAbsent(id)
      const [keys, times, steps] = [points.map(p => p.key), points.map(p => p.timestamp), points.map(p => p.step)]
      const rows = await this.#db.all(findModelPoints(runId, ids, keys, times, steps))
      const stored = new Map(rows.map(row => [placeOf(row.model_id, row.metric_name, row.time, row.step), row]))
      for (const p of points) checkSame(p, stored.get(placeOf(p.model.modelId, p.key, p.timestamp, p.step)))
      return undefined
    } catch (reason) {
      if (reason instanceof MlflowError) return reason
      throw reason
    }
  }

  async #putModelMetrics({ runId, metrics }: LogEntry, experimentId: number): Promise<void> {
    const rows = metrics.filter(metric => metric.model)
    await this.#db.run(
      putModelMetrics(
        rows.map(m => m.model?.modelId),
        rows.map(m => m.key),
        rows.map(m => m.timestamp),
        rows.map(m => m.step),
        rows.map(m => m.value),
        rows.map(m => m.model?.datasetName),
        rows.map(m => m.model?.datasetDigest),
        experimentId,
        runId,
      ),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#logs, this.#creates].map(group => group[Symbol.asyncDispose]()))
  }
}

function checkLogged(entry: LogEntry, row: Logged | undefined): void {
  if (!row) throw runAbsent(entry.runId)
  checkRunActive(entry.runId, row.lifecycle_stage)
  if (!row.conflicts || entry.params.length === 0) return
  const old = new Map(row.conflicts)
  const conflicts: ParamConflict[] = []
  for (const { key, value } of entry.params) {
    const oldValue = old.get(key)
    if (oldValue !== undefined) conflicts.push({ key, value, oldValue })
  }
  throw paramsChanged(entry, conflicts)
}
