import type { HandlerContext, ServiceImpl } from '@connectrpc/connect'
import { callOf } from '@millrace/kit/call-context'
import type { Experiment, ExperimentService, SearchExperimentsRequest } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import type { MetadataContext } from '../context.ts'
import { parseExperimentFilter, parseExperimentOrder } from '../search/experiment-filter.ts'
import { createPageToken, parsePageToken } from '../search/page-token.ts'
import type { ExperimentRecord } from '../store/experiments/search.ts'
import { checkMaxResults } from './paging.ts'
import { stagesOf } from './view-type.ts'

export function experimentSearch({
  experiments: store,
}: Pick<MetadataContext, 'experiments'>): Pick<ServiceImpl<typeof ExperimentService>, 'searchExperiments'> {
  return {
    async searchExperiments(request: SearchExperimentsRequest, context: HandlerContext) {
      const pageSize = checkMaxResults(request.maxResults ?? 0n)
      const conditions = parseExperimentFilter(request.filter ?? '')
      const order = parseExperimentOrder(request.orderBy)
      const { offset } = parsePageToken(request.pageToken)
      const search = { stages: stagesOf(request.viewType), conditions, order, offset }
      const { experiments, more } = await store.search(search, pageSize, callOf(context))
      const nextPageToken = more ? createPageToken(offset + pageSize) : undefined
      return {
        $typeName: 'millrace.tracking.v1.SearchExperimentsResponse' as const,
        experiments: experiments.map(experimentMessage),
        nextPageToken,
      }
    },
  }
}

function experimentMessage([[id, name, artifactLocation, lifecycleStage, created, updated], tags]: ExperimentRecord): Experiment {
  return {
    $typeName: 'millrace.tracking.v1.Experiment',
    experimentId: String(id),
    name,
    artifactLocation: artifactLocation ?? '',
    lifecycleStage,
    lastUpdateTime: updated === null ? undefined : BigInt(updated),
    creationTime: created === null ? undefined : BigInt(created),
    tags: tags.map(([key, value]) => ({ $typeName: 'millrace.tracking.v1.ExperimentTag', key, value: value ?? '' })),
    workspace: 'default',
  }
}
