import type { ServiceImpl } from '@connectrpc/connect'
import { callOf } from '@millrace/kit/call-context'
import type { MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import type { MetadataContext } from '../context.ts'
import { checkMetric, checkMetricDataset } from './entries.ts'

const none: readonly never[] = []

export function metricWrites({ runWrites }: Pick<MetadataContext, 'runWrites'>): Pick<ServiceImpl<typeof MetricService>, 'logMetric'> {
  return {
    async logMetric(request, context) {
      checkMetricDataset(request)
      const metrics = [checkMetric(request, '')]
      await runWrites.log(
        { runId: request.runId || request.runUuid || '', metrics, params: none, tags: none, batch: false },
        callOf(context),
      )
      return { $typeName: 'millrace.tracking.v1.LogMetricResponse' as const }
    },
  }
}
