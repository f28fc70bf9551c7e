import { invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { floatRepr } from '../search/python.ts'
import type { KeyValue, MetricPoint } from '../store/runs/writes.ts'
import {
  checkKey,
  checkLength,
  fitLength,
  invalidValue,
  isPlainKey,
  KEY_LENGTH_MAX,
  PARAM_VALUE_LENGTH_MAX,
  RUN_TAG_VALUE_LENGTH_MAX,
} from './checks.ts'

interface Metric {
  key?: string
  value?: number
  timestamp?: bigint
  step?: bigint
  modelId?: string
  datasetName?: string
  datasetDigest?: string
}

type Pair = { key?: string; value?: string }

const infinity = Number.MAX_VALUE

/** @throws INVALID_PARAMETER_VALUE when half of a data set is named. */
export function checkMetricDataset({ datasetName, datasetDigest }: Metric): void {
  if (!datasetName === !datasetDigest) return
  throw invalidParameter('Both dataset_name and dataset_digest must be provided if one is provided')
}

/** @param path What comes before the names of fields in messages: `metrics[3].` or nothing. */
export function checkMetric(metric: Metric, path: string): MetricPoint {
  const { key = '', value = 0, timestamp = 0n, step = 0n } = metric
  if (!isPlainKey(key)) checkKey(key, `${path}name`)
  if (timestamp < 0n) {
    const shown = `metric '${shorten(key)}' (value=${floatRepr(value)})`
    throw invalidValue(`${path}timestamp`, timestamp, `${shown}. Timestamp must be a nonnegative long (64-bit integer) `)
  }
  if (!isPlainKey(key)) checkLength('Metric name', key, KEY_LENGTH_MAX)
  const isNan = Number.isNaN(value)
  const stored = isNan ? 0 : Math.max(-infinity, Math.min(infinity, value))
  const point: MetricPoint = { key, value: stored, isNan, timestamp, step }
  if (metric.modelId) {
    point.model = { modelId: metric.modelId, datasetName: metric.datasetName || null, datasetDigest: metric.datasetDigest || null }
  }
  return point
}

/** @param path The key's place in the request. */
export function checkParam({ key = '', value = '' }: Pair, path: string, truncate: boolean): KeyValue {
  checkKey(key, path)
  checkLength('Param key', key, KEY_LENGTH_MAX)
  return { key, value: fitLength('Param value', value, PARAM_VALUE_LENGTH_MAX, truncate) }
}

/** @param path What comes before the names of fields in messages: `tags[3].` or nothing. */
export function checkTag({ key = '', value = '' }: Pair, path: string, truncate: boolean): KeyValue {
  checkKey(key, `${path}key`)
  checkLength(`${path}key`, key, KEY_LENGTH_MAX)
  return { key, value: fitLength(`${path}value`, value, RUN_TAG_VALUE_LENGTH_MAX, truncate) }
}
