import type { ServiceImpl } from '@connectrpc/connect'
import { invalidParameter } from '@millrace/kit/errors'
import type { LoggedModel, LoggedModelService, LoggedModelStatus } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import type { Metric } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import type { MetadataContext } from '../context.ts'
import { modelOrderColumn, parseModelFilter } from '../search/model-filter.ts'
import { createPageToken, parsePageToken } from '../search/page-token.ts'
import { repr } from '../search/python.ts'
import { experimentId } from '../search/values.ts'
import { LoggedModels, type ModelMetricRecord, type ModelRecord } from '../store/logged-models.ts'
import { checkMaxResults } from './paging.ts'

/** Models of a page when the request does not say, and when it says 0. */
const PAGE_SIZE = 50
const PAGE_SIZE_OF_ZERO = 100
const NAME_REFUSED = /[/:.%"']/

export function loggedModels({
  db,
  reads,
  experiments,
}: Pick<MetadataContext, 'db' | 'reads' | 'experiments'>): ServiceImpl<typeof LoggedModelService> {
  const store = new LoggedModels(db, reads, experiments)
  return {
    async createLoggedModel({ experimentId = '', name = '', modelType = '', sourceRunId = '', params, tags }) {
      checkName(name)
      const model = { name, modelType, sourceRunId, params: params.map(pair), tags: tags.map(pair) }
      return { model: modelMessage(await store.create(experimentId, model)) }
    },
    async getLoggedModel({ modelId = '', allowDeleted }) {
      return { model: modelMessage(await store.get(modelId, allowDeleted)) }
    },
    async searchLoggedModels({ experimentIds, filter = '', maxResults, orderBy, pageToken }) {
      const pageSize = maxResults === 0 ? PAGE_SIZE_OF_ZERO : checkMaxResults(maxResults ?? PAGE_SIZE)
      const { offset } = parsePageToken(pageToken)
      const search = {
        experimentIds: experimentIds.map(experimentId),
        conditions: parseModelFilter(filter),
        order: orderBy.map(({ fieldName = '', ascending = true }) => ({ column: modelOrderColumn(fieldName), ascending })),
        limit: pageSize + 1,
        offset,
      }
      const models = await store.search(search)
      const nextPageToken = models.length > pageSize ? createPageToken(offset + pageSize) : undefined
      return { models: models.slice(0, pageSize).map(modelMessage), nextPageToken }
    },
    async finalizeLoggedModel({ modelId = '', status = 0 }) {
      return { model: modelMessage(await store.finalize(modelId, status)) }
    },
    async deleteLoggedModel({ modelId = '' }) {
      await store.delete(modelId)
      return {}
    },
    async setLoggedModelTags({ modelId = '', tags }) {
      await store.setTags(modelId, tags.map(pair))
      return {}
    },
    async deleteLoggedModelTag({ modelId = '', tagKey = '' }) {
      await store.deleteTag(modelId, tagKey)
      return {}
    },
    async logLoggedModelParams({ modelId = '', params }) {
      await store.addParams(modelId, params.map(pair))
      return {}
    },
  }
}

const pair = ({ key = '', value = '' }: { key?: string; value?: string }) => [key, value] as const

/** An empty name asks for a generated one. */
function checkName(name: string): void {
  if (!NAME_REFUSED.test(name)) return
  throw invalidParameter(
    `Invalid model name (${repr(name)}) provided. Model name must be a non-empty string and cannot contain the following characters: ` +
      `('/', ':', '.', '%', '"', "'")`,
  )
}

function modelMessage([info, params, tags, metrics]: ModelRecord): LoggedModel {
  const [modelId, experimentId, name, artifactUri, created, updated, status, modelType, sourceRunId, statusMessage] = info
  return {
    $typeName: 'millrace.tracking.v1.LoggedModel',
    info: {
      $typeName: 'millrace.tracking.v1.LoggedModelInfo',
      modelId,
      experimentId: String(experimentId),
      name,
      creationTimestampMs: BigInt(created),
      lastUpdatedTimestampMs: BigInt(updated),
      artifactUri,
      status: status as LoggedModelStatus,
      modelType: modelType ?? undefined,
      sourceRunId: sourceRunId ?? undefined,
      statusMessage: statusMessage ?? undefined,
      tags: tags.map(([key, value]) => ({ $typeName: 'millrace.tracking.v1.LoggedModelTag', key, value: value ?? '' })),
      registrations: [],
    },
    data: {
      $typeName: 'millrace.tracking.v1.LoggedModelData',
      params: params.map(([key, value]) => ({ $typeName: 'millrace.tracking.v1.LoggedModelParameter', key, value: value ?? '' })),
      metrics: metrics.map(metric => metricMessage(modelId, metric)),
    },
  }
}

function metricMessage(modelId: string, [key, value, timestamp, step, runId, datasetName, datasetDigest]: ModelMetricRecord): Metric {
  return {
    $typeName: 'millrace.tracking.v1.Metric',
    key,
    value,
    timestamp: BigInt(timestamp),
    step: BigInt(step),
    datasetName: datasetName ?? undefined,
    datasetDigest: datasetDigest ?? undefined,
    modelId,
    runId,
  }
}
