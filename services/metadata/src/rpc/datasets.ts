import type { HandlerContext, ServiceImpl } from '@connectrpc/connect'
import { callOf } from '@millrace/kit/call-context'
import { invalidParameter } from '@millrace/kit/errors'
import type { DatasetService, SearchDatasetsRequest } from '@millrace/proto/millrace/tracking/v1/datasets_pb'
import type { MetadataContext } from '../context.ts'
import { comparableExperimentId } from '../search/values.ts'

const EXPERIMENTS_MAX = 20

export function datasets({ datasets: store }: Pick<MetadataContext, 'datasets'>): ServiceImpl<typeof DatasetService> {
  return {
    async searchDatasets({ experimentIds }: SearchDatasetsRequest, context: HandlerContext) {
      if (experimentIds.length === 0) throw invalidParameter('SearchDatasets request must specify at least one experiment_id.')
      if (experimentIds.length > EXPERIMENTS_MAX) {
        throw invalidParameter(
          `SearchDatasets request cannot specify more than ${EXPERIMENTS_MAX} experiment_ids. Received ${experimentIds.length} experiment_ids.`,
        )
      }
      const found = await store.search(experimentIds.map(comparableExperimentId), callOf(context))
      return {
        datasetSummaries: found.map(([id, name, digest, context]) => ({
          experimentId: String(id),
          name,
          digest,
          context: context ?? undefined,
        })),
      }
    },
  }
}
