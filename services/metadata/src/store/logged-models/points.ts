import { badRequest } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import type { MetricPoint } from '../runs/writes.ts'

/** A point that is also a metric of a logged model. */
export type LoggedModelPoint = MetricPoint & { model: NonNullable<MetricPoint['model']> }

/** What a model has at a place already. */
export interface StoredLoggedModelPoint {
  /** SQLite keeps null for NaN, PostgreSQL keeps it. */
  metric_value: number | null
  dataset_name: string | null
  dataset_digest: string | null
}

/** Of one run: a model has one point of a metric at a step and time. */
export const placeOf = (modelId: string, key: string, timestamp: bigint | string, step: bigint | string) =>
  JSON.stringify([modelId, key, String(timestamp), String(step)])

/** The points of models among `metrics`, those given twice once. @throws BAD_REQUEST for two that differ at one place. */
export function loggedModelPoints(metrics: readonly MetricPoint[]): LoggedModelPoint[] {
  const points = new Map<string, LoggedModelPoint>()
  for (const metric of metrics) {
    if (!metric.model) continue
    const point = metric as LoggedModelPoint
    const place = placeOf(point.model.modelId, point.key, point.timestamp, point.step)
    const known = points.get(place)
    if (known) checkSame(point, storedAs(known))
    else points.set(place, point)
  }
  return [...points.values()]
}

/** @throws BAD_REQUEST when another point is stored in its place, as in MLflow. */
export function checkSame(point: LoggedModelPoint, stored: StoredLoggedModelPoint | undefined): void {
  const own = storedAs(point)
  if (
    !stored ||
    (Object.is((stored.metric_value ?? Number.NaN) + 0, own.metric_value) &&
      stored.dataset_name === own.dataset_name &&
      stored.dataset_digest === own.dataset_digest)
  )
    return
  throw badRequest(
    `Logged model '${shorten(point.model.modelId)}' has another value of metric '${point.key}' at step ${point.step} already`,
  )
}

/** The value of a model's point, which has no mark for NaN as a run's has. */
export const loggedModelValue = ({ value, isNan }: MetricPoint) => (isNan ? Number.NaN : value + 0)

const storedAs = (point: LoggedModelPoint): StoredLoggedModelPoint => ({
  metric_value: loggedModelValue(point),
  dataset_name: point.model.datasetName,
  dataset_digest: point.model.datasetDigest,
})
