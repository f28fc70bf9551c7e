import type { Caller } from '@millrace/kit/call-context'

/** A point of a metric as it is stored: NaN is value 0 with `isNan`, an infinity the largest double. */
export interface MetricPoint {
  key: string
  value: number
  isNan: boolean
  timestamp: bigint
  step: bigint
  /** Set when the point is also a metric of a logged model. */
  model?: { modelId: string; datasetName: string | null; datasetDigest: string | null }
}

export interface KeyValue {
  key: string
  value: string
}

/** What one request logs to one run. Keys of params are distinct, those of tags too. */
export interface LogEntry {
  runId: string
  metrics: readonly MetricPoint[]
  params: readonly KeyValue[]
  tags: readonly KeyValue[]
  /** A conflict of params is told as log-batch tells it, naming them all. */
  batch: boolean
}

export interface NewRun {
  runId: string
  experimentId: number
  userId: string
  name: string
  startTime: bigint
  tags: readonly KeyValue[]
}

export interface RunChange {
  runId: string
  status?: string
  endTime?: bigint
  /** Also the tag `mlflow.runName`. */
  name?: string
}

/** A run's own row. */
export interface RunRow {
  run_uuid: string
  name: string | null
  user_id: string | null
  status: string
  start_time: bigint | null
  end_time: bigint | null
  lifecycle_stage: string
  artifact_uri: string | null
  experiment_id: number | bigint
}

/**
 * Writes that many clients make at once. Each resolves when its rows are durable. One that is refused (an MlflowError: unknown or
 * deleted run, changed param, unknown model) writes nothing and never fails another; only metrics of an unknown model in a batch are
 * refused after its params and metrics are written, as in MLflow. One whose caller has gone before it is begun is dropped.
 */
export interface RunWrites extends AsyncDisposable {
  log(entry: LogEntry, caller?: Caller): Promise<void>
  /** The run's artifact URI. */
  create(run: NewRun, caller?: Caller): Promise<string>
  /** The run after the change. */
  update(change: RunChange, caller?: Caller): Promise<RunRow>
}

export const RUN_NAME_TAG = 'mlflow.runName'
export const ARTIFACT_FOLDER = 'artifacts'

/** MLflow's order of points: by step, then timestamp, then stored value; the greatest is the run's latest of the metric. */
function isLater(a: MetricPoint, b: MetricPoint): boolean {
  if (a.step !== b.step) return a.step > b.step
  if (a.timestamp !== b.timestamp) return a.timestamp > b.timestamp
  return a.value > b.value
}

/** The latest point of each key. */
export function latestOf(points: readonly MetricPoint[]): Iterable<MetricPoint> {
  if (points.length === 1) return points
  const latest = new Map<string, MetricPoint>()
  addLatest(latest, points)
  return latest.values()
}

/** Puts those of `points` into `latest`, by key, that are later than what is there. */
export function addLatest(latest: Map<string, MetricPoint>, points: readonly MetricPoint[]): void {
  for (const point of points) {
    const known = latest.get(point.key)
    if (!known || isLater(point, known)) latest.set(point.key, point)
  }
}
