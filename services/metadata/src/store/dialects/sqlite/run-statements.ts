import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { doesNotExist } from '@millrace/kit/errors'
import { appendToUriPath } from '../../artifact-uri.ts'
import { checkActive } from '../../experiments/experiments.ts'
import { metricOfAbsentLoggedModel } from '../../logged-models/errors.ts'
import { checkSame, loggedModelPoints, loggedModelValue, type StoredLoggedModelPoint } from '../../logged-models/points.ts'
import { checkRunActive, type ParamConflict, paramsChanged, runAbsent } from '../../runs/checks.ts'
import {
  ARTIFACT_FOLDER,
  type LogEntry,
  latestOf,
  type MetricPoint,
  type NewRun,
  RUN_NAME_TAG,
  type RunChange,
  type RunRow,
} from '../../runs/writes.ts'

interface KnownRun {
  lifecycle_stage: string
  experiment_id: number
}

/** The writes of one transaction, each checked before its first row: an MlflowError means that nothing of it was written. */
export class SqliteRunStatements {
  readonly #findRun: StatementSync
  readonly #findExperiment: StatementSync
  readonly #putMetric: StatementSync
  readonly #putLatest: StatementSync
  readonly #findLoggedModel: StatementSync
  readonly #findLoggedModelPoint: StatementSync
  readonly #putLoggedModelMetric: StatementSync
  readonly #findParam: StatementSync
  readonly #putParam: StatementSync
  readonly #putTag: StatementSync
  readonly #putRun: StatementSync
  readonly #putNewTag: StatementSync
  readonly #rename: StatementSync
  readonly #update: StatementSync
  readonly #readRun: StatementSync
  readonly #runs = new Map<string, KnownRun>()

  constructor(db: DatabaseSync) {
    this.#findRun = db.prepare('SELECT lifecycle_stage, experiment_id FROM runs WHERE run_uuid = ?')
    this.#findExperiment = db.prepare('SELECT experiment_id, lifecycle_stage, artifact_location FROM experiments WHERE experiment_id = ?')
    this.#putMetric = db.prepare(
      'INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
    )
    this.#putLatest = db.prepare(
      'INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, run_uuid) ' +
        'DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan ' +
        'WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)',
    )
    this.#findLoggedModel = db.prepare('SELECT 1 FROM logged_models WHERE model_id = ?')
    this.#findLoggedModelPoint = db.prepare(
      'SELECT metric_value, dataset_name, dataset_digest FROM logged_model_metrics WHERE model_id = ? AND metric_name = ? ' +
        'AND metric_timestamp_ms = ? AND metric_step = ? AND run_id = ?',
    )
    this.#putLoggedModelMetric = db.prepare(
      'INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, metric_step, metric_value, experiment_id, run_id, ' +
        'dataset_name, dataset_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
    )
    this.#findParam = db.prepare('SELECT value FROM params WHERE key = ? AND run_uuid = ?')
    this.#putParam = db.prepare('INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)')
    this.#putTag = db.prepare(
      'INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?) ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value',
    )
    this.#putNewTag = db.prepare('INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)')
    this.#putRun = db.prepare(
      'INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, source_version, ' +
        "lifecycle_stage, artifact_uri, experiment_id) VALUES (?, ?, 'UNKNOWN', '', '', ?, 'RUNNING', ?, '', 'active', ?, ?)",
    )
    this.#rename = db.prepare('UPDATE runs SET name = ? WHERE run_uuid = ?')
    this.#update = db.prepare('UPDATE runs SET status = coalesce(?, status), end_time = coalesce(?, end_time) WHERE run_uuid = ?')
    this.#readRun = db.prepare(
      'SELECT run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, experiment_id FROM runs WHERE run_uuid = ?',
    )
    this.#readRun.setReadBigInts(true)
  }

  /** Forgets what the last transaction knew of runs. */
  begin(): void {
    this.#runs.clear()
  }

  log(entry: LogEntry): undefined {
    const { runId, metrics, params, tags, batch } = entry
    const run = this.#activeRun(runId)
    if (!batch) this.#checkLoggedModels(runId, metrics)
    if (params.length > 0) this.#putParams(entry)
    for (const { key, value, timestamp, step, isNan } of metrics) this.#putMetric.run(key, value, timestamp, runId, step, isNan ? 1 : 0)
    for (const { key, value, timestamp, step, isNan } of latestOf(metrics)) {
      this.#putLatest.run(key, value, timestamp, step, isNan ? 1 : 0, runId)
    }
    if (batch) this.#checkLoggedModels(runId, metrics)
    this.#putLoggedModelMetrics(runId, run.experiment_id, metrics)
    for (const { key, value } of tags) {
      if (key === RUN_NAME_TAG) this.#rename.run(value, runId)
      this.#putTag.run(key, value, runId)
    }
  }

  create({ runId, experimentId, userId, name, startTime, tags }: NewRun): string {
    const experiment = this.#findExperiment.get(experimentId) as unknown as
      | { experiment_id: number; lifecycle_stage: string; artifact_location: string | null }
      | undefined
    if (!experiment) throw doesNotExist(`No Experiment with id=${experimentId} exists`)
    checkActive(experiment)
    const uri = appendToUriPath(experiment.artifact_location ?? '', runId, ARTIFACT_FOLDER)
    this.#putRun.run(runId, name, userId, startTime, uri, experimentId)
    for (const { key, value } of tags) this.#putNewTag.run(key, value, runId)
    return uri
  }

  update({ runId, status, endTime, name }: RunChange): RunRow {
    this.#activeRun(runId)
    this.#update.run(status ?? null, endTime ?? null, runId)
    if (name) {
      this.#rename.run(name, runId)
      this.#putTag.run(RUN_NAME_TAG, name, runId)
    }
    return this.#readRun.get(runId) as unknown as RunRow
  }

  #activeRun(runId: string): KnownRun {
    let run = this.#runs.get(runId)
    if (!run) {
      run = this.#findRun.get(runId) as unknown as KnownRun | undefined
      if (!run) throw runAbsent(runId)
      this.#runs.set(runId, run)
    }
    checkRunActive(runId, run.lifecycle_stage)
    return run
  }

  #putParams(entry: LogEntry): void {
    const conflicts: ParamConflict[] = []
    const fresh = entry.params.filter(({ key, value }) => {
      const known = this.#findParam.get(key, entry.runId) as { value: string } | undefined
      if (known && known.value !== value) conflicts.push({ key, value, oldValue: known.value })
      return !known
    })
    if (conflicts.length > 0) throw paramsChanged(entry, conflicts)
    for (const { key, value } of fresh) this.#putParam.run(key, value, entry.runId)
  }

  #checkLoggedModels(runId: string, metrics: readonly MetricPoint[]): void {
    for (const point of loggedModelPoints(metrics)) {
      const { key, timestamp, step, model } = point
      if (!this.#findLoggedModel.get(model.modelId)) throw metricOfAbsentLoggedModel(model.modelId)
      checkSame(point, this.#findLoggedModelPoint.get(model.modelId, key, timestamp, step, runId) as StoredLoggedModelPoint | undefined)
    }
  }

  #putLoggedModelMetrics(runId: string, experimentId: number, metrics: readonly MetricPoint[]): void {
    for (const point of metrics) {
      const { key, timestamp, step, model } = point
      if (!model) continue
      const { modelId, datasetName, datasetDigest } = model
      this.#putLoggedModelMetric.run(
        modelId,
        key,
        timestamp,
        step,
        loggedModelValue(point),
        experimentId,
        runId,
        datasetName,
        datasetDigest,
      )
    }
  }
}
