import type { ServiceImpl } from '@connectrpc/connect'
import type { Experiment, ExperimentService, SearchExperimentsRequest } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { parseExperimentFilter, parseExperimentOrder } from '../search/experiment-filter.ts'
import { createPageToken, parsePageToken } from '../search/page-token.ts'
import { type ExperimentRecord, searchExperimentsSql } from '../store/experiments/search.ts'
import type { ReadContext } from '../store/reads.ts'
import { parsed } from '../store/slices.ts'
import { checkMaxResults } from './paging.ts'
import { stagesOf } from './view-type.ts'

export function experimentSearch({ reads }: ReadContext): Pick<ServiceImpl<typeof ExperimentService>, 'searchExperiments'> {
  return {
    async searchExperiments(request: SearchExperimentsRequest) {
      const pageSize = checkMaxResults(request.maxResults ?? 0n)
      const conditions = parseExperimentFilter(request.filter ?? '')
      const order = parseExperimentOrder(request.orderBy)
      const { offset } = parsePageToken(request.pageToken)
      const search = { stages: stagesOf(request.viewType), conditions, order, offset, limit: pageSize + 1 }
      const experiments: Experiment[] = []
      const slices = await reads.rows(reads.compile(searchExperimentsSql(search, reads.dialect)))
      for await (const slice of parsed<ExperimentRecord>(slices)) experiments.push(...slice.map(experimentMessage))
      const more = experiments.length > pageSize
      if (more) experiments.length = pageSize
      const nextPageToken = more ? createPageToken(offset + pageSize) : undefined
      return { $typeName: 'millrace.tracking.v1.SearchExperimentsResponse' as const, experiments, nextPageToken }
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
