import type { HandlerContext, ServiceImpl } from '@connectrpc/connect'
import { callOf } from '@millrace/kit/call-context'
import { invalidParameter } from '@millrace/kit/errors'
import type {
  GetMetricHistoryBulkIntervalRequest,
  GetMetricHistoryBulkRequest,
  GetMetricHistoryRequest,
  Metric,
  MetricService,
  MetricWithRunId,
  StreamMetricHistoryRequest,
} from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import type { MetadataContext } from '../context.ts'
import { createPageToken, parsePageToken } from '../search/page-token.ts'
import type { PointColumns, Points } from '../store/metrics/history.ts'

type Methods = 'getMetricHistory' | 'streamMetricHistory' | 'getMetricHistoryBulk' | 'getMetricHistoryBulkInterval'

const BULK_RUNS_MAX = 100
const BULK_POINTS_MAX = 25_000
const INTERVAL_POINTS_MAX = 2500

export function metricHistory({
  metricHistory: history,
}: Pick<MetadataContext, 'metricHistory'>): Pick<ServiceImpl<typeof MetricService>, Methods> {
  return {
    async getMetricHistory(request: GetMetricHistoryRequest, context: HandlerContext) {
      const { metricKey: key = '', maxResults } = request
      if (maxResults !== undefined && maxResults <= 0) {
        throw invalidParameter(`Invalid value ${maxResults} for parameter 'max_results' supplied. It must be a positive integer.`)
      }
      const { offset } = parsePageToken(request.pageToken)
      const limit = maxResults === undefined ? undefined : maxResults + 1
      const metrics: Metric[] = []
      const found = history.ofRun({ runId: request.runId || request.runUuid || '', key, offset, limit }, callOf(context))
      for await (const points of found) for (const message of metricMessages(points, key)) metrics.push(message)
      const more = maxResults !== undefined && metrics.length > maxResults
      if (more) metrics.length = maxResults
      const nextPageToken = more ? createPageToken(offset + maxResults) : undefined
      return { $typeName: 'millrace.tracking.v1.GetMetricHistoryResponse' as const, metrics, nextPageToken }
    },

    async *streamMetricHistory({ runId, metricKey: key, pageToken }: StreamMetricHistoryRequest, context: HandlerContext) {
      const { offset } = parsePageToken(pageToken)
      for await (const points of history.ofRun({ runId, key, offset }, callOf(context))) {
        yield { $typeName: 'millrace.tracking.v1.StreamMetricHistoryResponse' as const, metrics: metricMessages(points, key) }
      }
    },

    async getMetricHistoryBulk({ runId: runIds, metricKey: key, maxResults }: GetMetricHistoryBulkRequest, context: HandlerContext) {
      if (runIds.length === 0) throw invalidParameter('GetMetricHistoryBulk request must specify at least one run_id.')
      if (runIds.length > BULK_RUNS_MAX) {
        throw invalidParameter(
          `GetMetricHistoryBulk request cannot specify more than ${BULK_RUNS_MAX} run_ids. Received ${runIds.length} run_ids.`,
        )
      }
      if (key === undefined) throw invalidParameter('GetMetricHistoryBulk request must specify a metric_key.')
      const limit = Math.min(maxResults ?? BULK_POINTS_MAX, BULK_POINTS_MAX)
      const points = history.ofRuns(runIds, key, limit < 0 ? BULK_POINTS_MAX : limit, callOf(context))
      const found = await messages(points, key)
      // As a Python slice, which MLflow's handler cuts with: a negative end leaves off that many.
      const metrics = found.slice(0, limit)
      return { $typeName: 'millrace.tracking.v1.GetMetricHistoryBulkResponse' as const, metrics }
    },

    async getMetricHistoryBulkInterval(request: GetMetricHistoryBulkIntervalRequest, context: HandlerContext) {
      const { runIds, metricKey: key = '', maxResults = INTERVAL_POINTS_MAX } = request
      if (runIds.length > BULK_RUNS_MAX) {
        throw invalidParameter(
          `GetMetricHistoryBulkInterval request must specify at most ${BULK_RUNS_MAX} run_ids. Received ${runIds.length} run_ids.`,
        )
      }
      if (maxResults < 1 || maxResults > INTERVAL_POINTS_MAX) {
        throw invalidParameter(`max_results must be between 1 and ${INTERVAL_POINTS_MAX}.`)
      }
      const metrics = await messages(history.sampled({ runIds, key, count: maxResults, steps: stepsOf(request) }, callOf(context)), key)
      return { $typeName: 'millrace.tracking.v1.GetMetricHistoryBulkIntervalResponse' as const, metrics }
    },
  }
}

function stepsOf({ startStep, endStep }: GetMetricHistoryBulkIntervalRequest) {
  if (startStep === undefined && endStep === undefined) return undefined
  if (startStep === undefined || endStep === undefined) {
    throw invalidParameter('If either start step or end step are specified, both must be specified.')
  }
  if (startStep > endStep) {
    throw invalidParameter(`end_step must be greater than start_step. Found start_step=${startStep} and end_step=${endStep}.`)
  }
  return { start: BigInt(startStep), end: BigInt(endStep) }
}

const metricMessages = ([values, timestamps, steps]: PointColumns, key: string): Metric[] =>
  values.map((value, i) => ({
    $typeName: 'millrace.tracking.v1.Metric',
    key,
    value: value ?? Number.NaN,
    timestamp: BigInt(timestamps[i] ?? 0),
    step: BigInt(steps[i] ?? 0),
  }))

async function messages(points: Points, key: string): Promise<MetricWithRunId[]> {
  const metrics: MetricWithRunId[] = []
  for await (const [values, timestamps, steps, runIds] of points) {
    for (const [i, value] of values.entries()) {
      metrics.push({
        $typeName: 'millrace.tracking.v1.MetricWithRunId',
        key,
        value: value ?? Number.NaN,
        timestamp: BigInt(timestamps[i] ?? 0),
        step: BigInt(steps[i] ?? 0),
        runId: runIds?.[i],
      })
    }
  }
  return metrics
}
