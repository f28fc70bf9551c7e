import { invalidParameter } from '@millrace/kit/errors'
import type { LogBatchRequest } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { repr } from '../search/python.ts'
import { type KeyValue, type LogEntry, RUN_NAME_TAG } from '../store/runs/writes.ts'
import { checkMetric, checkMetricDataset, checkParam, checkTag } from './entries.ts'
import { checkRunId } from './input-checks.ts'

const METRICS_MAX = 1000
const PARAMS_MAX = 100
const TAGS_MAX = 100
const ENTITIES_MAX = 1000

/**
 * Checks in MLflow's order: data sets of metrics, the run's id, every item, the sizes, params given twice. Of tags with the same key the
 * last counts.
 */
export function checkBatch(request: LogBatchRequest, truncate: boolean): LogEntry {
  const { runId = '' } = request
  for (const metric of request.metrics) checkMetricDataset(metric)
  checkRunId(runId)
  const metrics = request.metrics.map((metric, i) => checkMetric(metric, `metrics[${i}].`))
  const params = request.params.map((param, i) => checkParam(param, `params[${i}].key`, truncate))
  const tags = request.tags.map((tag, i) => checkTag(tag, `tags[${i}].`, truncate))
  checkSize('metrics', metrics.length, METRICS_MAX)
  checkSize('params', params.length, PARAMS_MAX)
  checkSize('tags', tags.length, TAGS_MAX)
  checkSize('metrics, params, and tags', metrics.length + params.length + tags.length, ENTITIES_MAX)
  checkDistinct(params)
  return { runId, metrics, params, tags: lastOfEach(tags), batch: true }
}

function checkSize(what: string, length: number, max: number): void {
  if (length <= max) return
  throw invalidParameter(
    `A batch logging request can contain at most ${max} ${what}. Got ${length} ${what}. ` +
      `Please split up ${what} across multiple requests and try again.`,
  )
}

function checkDistinct(params: readonly KeyValue[]): void {
  const seen = new Set<string>()
  const again = params.filter(({ key }) => seen.size === seen.add(key).size).map(({ key }) => key)
  if (again.length === 0) return
  throw invalidParameter(
    `Duplicate parameter keys have been submitted: ${repr(again)}. Please ensure the request contains only one param value per param key.`,
  )
}

/** An empty run name is no change, as in MLflow. */
function lastOfEach(tags: readonly KeyValue[]): readonly KeyValue[] {
  if (tags.length === 0) return tags
  const last = new Map<string, KeyValue>()
  for (const tag of tags) if (tag.key !== RUN_NAME_TAG || tag.value !== '') last.set(tag.key, tag)
  return [...last.values()]
}
