import type { HandlerContext, ServiceImpl } from '@connectrpc/connect'
import { callOf } from '@millrace/kit/call-context'
import { invalidParameter } from '@millrace/kit/errors'
import type {
  LoggedModelDataset,
  LoggedModelOrder,
  LoggedModelService,
  SearchLoggedModelsRequest,
} from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { checkDatasets, checkExperiments, checkOrderBy } from '../search/limits.ts'
import { parseLoggedModelFilter } from '../search/logged-model-filter.ts'
import { type OrderField, parseLoggedModelOrder } from '../search/logged-model-order.ts'
import { loggedModelPageOffset, loggedModelPageToken, type TokenOrder } from '../search/logged-model-page-token.ts'
import { comparableExperimentId } from '../search/values.ts'
import type { LoggedModels } from '../store/logged-models/logged-models.ts'
import type { PointDataset } from '../store/logged-models/search.ts'
import { loggedModelMessage } from './logged-model-messages.ts'
import { checkMaxResults } from './paging.ts'

/** Models of a page when the request does not say, and when it says 0. */
const PAGE_SIZE = 50
const PAGE_SIZE_OF_ZERO = 100
/** MLflow has no limit; here what is beyond it follows on the next page. */
const PAGE_SIZE_MAX = 50_000

export function loggedModelSearch(store: LoggedModels): Pick<ServiceImpl<typeof LoggedModelService>, 'searchLoggedModels'> {
  return {
    async searchLoggedModels(request: SearchLoggedModelsRequest, context: HandlerContext) {
      const { experimentIds, filter = '', datasets: asked, orderBy, pageToken } = request
      checkDatasets(asked.length)
      checkOrderBy(orderBy.map(({ fieldName = '' }) => fieldName))
      checkExperiments(experimentIds.length)
      const datasets = asked.map(pointDataset)
      const fields = orderBy.map(orderField)
      const tokenOrders = fields.length > 0 ? fields.map(tokenOrder) : null
      const query = { experiment_ids: experimentIds, filter_string: filter || null, order_by: tokenOrders }
      const offset = loggedModelPageOffset(pageToken, query)
      const conditions = parseLoggedModelFilter(filter)
      const ids = experimentIds.map(comparableExperimentId)
      const order = fields.map(parseLoggedModelOrder)
      const pageSize = pageSizeOf(request.maxResults)
      const search = { experimentIds: ids, conditions, datasets, order, offset }
      const { models, more } = await store.search(search, pageSize, callOf(context))
      return {
        $typeName: 'millrace.tracking.v1.SearchLoggedModelsResponse' as const,
        models: models.map(loggedModelMessage),
        nextPageToken: more ? loggedModelPageToken(query, offset + pageSize) : undefined,
      }
    },
  }
}

/** @throws INVALID_PARAMETER_VALUE */
function pageSizeOf(maxResults = PAGE_SIZE): number {
  return maxResults === 0 ? PAGE_SIZE_OF_ZERO : checkMaxResults(Math.min(maxResults, PAGE_SIZE_MAX))
}

function pointDataset({ datasetName, datasetDigest }: LoggedModelDataset): PointDataset {
  if (!datasetName) throw invalidParameter('`dataset_name` in the `datasets` clause must be specified.')
  return { name: datasetName, digest: datasetDigest || undefined }
}

const orderField = ({ fieldName = '', ascending = true, datasetName, datasetDigest }: LoggedModelOrder): OrderField => ({
  fieldName,
  ascending,
  datasetName: datasetName || undefined,
  datasetDigest: datasetDigest || undefined,
})

const tokenOrder = ({ fieldName, ascending, datasetName, datasetDigest }: OrderField): TokenOrder => ({
  field_name: fieldName,
  ascending,
  dataset_name: datasetName ?? null,
  dataset_digest: datasetDigest ?? null,
})
