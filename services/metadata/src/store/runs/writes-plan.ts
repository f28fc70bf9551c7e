import { doesNotExist } from '@millrace/kit/errors'
import { appendToUriPath } from '../artifact-uri.ts'
import type { Row } from '../dialects/dialect.ts'
import { checkActive } from '../experiments/experiments.ts'
import { metricOfAbsentLoggedModel } from '../logged-models/errors.ts'
import { checkSame, loggedModelPoints, loggedModelValue, placeOf, type StoredLoggedModelPoint } from '../logged-models/points.ts'
import { checkRunActive, type ParamConflict, paramsChanged, runAbsent } from './checks.ts'
import { ARTIFACT_FOLDER, addLatest, type LogEntry, type MetricPoint, type NewRun, RUN_NAME_TAG, type RunChange } from './writes.ts'
import { type Known, pairKey } from './writes-known.ts'

/** The rows that a group writes. An operation that is refused (an MlflowError) adds none, but see RunWrites. */
export class WritePlan {
  readonly runs: Row[] = []
  /** Of new runs. */
  readonly firstTags: Row[] = []
  readonly changes: RunChange[] = []
  readonly #known: Known
  readonly #metrics = new Map<string, Row>()
  readonly #latest = new Map<string, Map<string, MetricPoint>>()
  readonly #params = new Map<string, Row>()
  readonly #tags = new Map<string, Row>()
  readonly #points = new Map<string, Row>()

  constructor(known: Known) {
    this.#known = known
  }

  create({ runId, experimentId, userId, name, startTime, tags }: NewRun): string {
    const experiment = this.#known.experiments.get(experimentId)
    if (!experiment) throw doesNotExist(`No Experiment with id=${experimentId} exists`)
    checkActive(experiment)
    const uri = appendToUriPath(experiment.artifact_location ?? '', runId, ARTIFACT_FOLDER)
    const unused = { source_type: 'UNKNOWN', source_name: '', entry_point_name: '', source_version: '' }
    const own = { run_uuid: runId, name, user_id: userId, status: 'RUNNING', start_time: startTime, lifecycle_stage: 'active' }
    this.runs.push({ ...own, ...unused, artifact_uri: uri, experiment_id: experimentId })
    for (const { key, value } of tags) this.firstTags.push({ run_uuid: runId, key, value })
    return uri
  }

  change(change: RunChange): void {
    this.#activeRun(change.runId)
    this.changes.push(change)
    if (change.name) this.#putTag(change.runId, RUN_NAME_TAG, change.name)
  }

  log(entry: LogEntry): void {
    const { runId, metrics, params, tags, batch } = entry
    const { experiment_id } = this.#activeRun(runId)
    if (!batch) this.#checkLoggedModels(runId, metrics)
    if (params.length > 0) this.#putParams(entry)
    for (const { key, value, timestamp, step, isNan } of metrics) {
      const row = { key, value, timestamp, run_uuid: runId, step, is_nan: isNan }
      this.#metrics.set(JSON.stringify(Object.values(row).map(String)), row)
    }
    const latest = this.#latest.get(runId) ?? new Map<string, MetricPoint>()
    addLatest(latest, metrics)
    this.#latest.set(runId, latest)
    if (batch) this.#checkLoggedModels(runId, metrics)
    for (const point of loggedModelPoints(metrics)) {
      const { key, timestamp, step, model } = point
      const place = { model_id: model.modelId, metric_name: key, metric_timestamp_ms: timestamp, metric_step: step }
      const dataset = { dataset_name: model.datasetName, dataset_digest: model.datasetDigest }
      const row = { ...place, metric_value: loggedModelValue(point), experiment_id, run_id: runId, ...dataset }
      this.#points.set(pairKey(runId, placeOf(model.modelId, key, timestamp, step)), row)
    }
    for (const { key, value } of tags) {
      if (key === RUN_NAME_TAG) this.changes.push({ runId, name: value })
      this.#putTag(runId, key, value)
    }
  }

  get metrics(): Row[] {
    return [...this.#metrics.values()]
  }

  /** These and the following in the order of their keys, so that two writers take their locks in the same order. */
  get latest(): Row[] {
    return [...this.#latest]
      .flatMap(([run_uuid, points]) => {
        return [...points.values()].map(({ key, value, timestamp, step, isNan }) => ({
          key,
          run_uuid,
          value,
          timestamp,
          step,
          is_nan: isNan,
        }))
      })
      .sort(byKey)
  }

  get params(): Row[] {
    return [...this.#params.values()].sort(byKey)
  }

  get tags(): Row[] {
    return [...this.#tags.values()].sort(byKey)
  }

  get loggedModelMetrics(): Row[] {
    return [...this.#points].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
  }

  #activeRun(runId: string) {
    const run = this.#known.runs.get(runId)
    if (!run) throw runAbsent(runId)
    checkRunActive(runId, run.lifecycle_stage)
    return run
  }

  #putTag(run_uuid: string, key: string, value: string): void {
    this.#tags.set(pairKey(run_uuid, key), { key, value, run_uuid })
  }

  #putParams(entry: LogEntry): void {
    const conflicts: ParamConflict[] = []
    const fresh = entry.params.filter(({ key, value }) => {
      const oldValue = this.#known.params.get(pairKey(entry.runId, key))
      if (oldValue !== undefined && oldValue !== value) conflicts.push({ key, value, oldValue })
      return oldValue === undefined
    })
    if (conflicts.length > 0) throw paramsChanged(entry, conflicts)
    for (const { key, value } of fresh) this.#params.set(pairKey(entry.runId, key), { key, value, run_uuid: entry.runId })
  }

  #checkLoggedModels(runId: string, metrics: readonly MetricPoint[]): void {
    for (const point of loggedModelPoints(metrics)) {
      const { key, timestamp, step, model } = point
      if (!this.#known.loggedModels.has(model.modelId)) throw metricOfAbsentLoggedModel(model.modelId)
      const place = pairKey(runId, placeOf(model.modelId, key, timestamp, step))
      checkSame(point, this.#known.points.get(place) ?? this.#planned(place))
    }
  }

  #planned(place: string): StoredLoggedModelPoint | undefined {
    return this.#points.get(place) as StoredLoggedModelPoint | undefined
  }
}

const byKey = (a: Row, b: Row) => (`${a.run_uuid}\0${a.key}` < `${b.run_uuid}\0${b.key}` ? -1 : 1)
