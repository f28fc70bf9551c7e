import { hash } from 'node:crypto'
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect'
import { type Caller, callOf, throwIfEnded } from '@millrace/kit/call-context'
import type {
  GetRunRequest,
  LogInputsRequest,
  LogModelRequest,
  LogOutputsRequest,
  Run,
  RunService,
  SearchRunsRequest,
  SearchRunsResponse,
} from '@millrace/proto/millrace/tracking/v1/runs_pb'
import type { MetadataContext } from '../context.ts'
import { checkExperiments } from '../search/limits.ts'
import { parseRunOrder } from '../search/order-by.ts'
import { createPageToken, parsePageToken } from '../search/page-token.ts'
import { parseRunFilter } from '../search/run-filter.ts'
import { comparableExperimentId } from '../search/values.ts'
import { runAbsent } from '../store/runs/checks.ts'
import type { RunCursor } from '../store/runs/search.ts'
import { checkDatasetInput, checkRunId } from './input-checks.ts'
import { loggedModelSummary } from './logged-model-json.ts'
import { checkMaxResults } from './paging.ts'
import { runMessage } from './run-messages.ts'
import { SharedReads } from './shared-reads.ts'
import { stagesOf } from './view-type.ts'

type Methods = 'getRun' | 'searchRuns' | 'logInputs' | 'logOutputs' | 'logModel'

const MAX_RESULTS_DEFAULT = 1000

export function runReads({
  runs,
  runReader,
  inputs,
}: Pick<MetadataContext, 'runs' | 'runReader' | 'inputs'>): Pick<ServiceImpl<typeof RunService>, Methods> {
  const searches = new SharedReads<SearchRunsResponse>()
  return {
    async getRun(request: GetRunRequest, context: HandlerContext) {
      const runId = request.runId || request.runUuid || ''
      const found = await runReader.get(runId, callOf(context))
      if (!found) throw runAbsent(runId)
      return { $typeName: 'millrace.tracking.v1.GetRunResponse' as const, run: runMessage(found, true) }
    },

    async searchRuns(request: SearchRunsRequest, context: HandlerContext) {
      const pageSize = checkMaxResults(request.maxResults ?? MAX_RESULTS_DEFAULT)
      const filter = parseRunFilter(request.filter ?? '')
      const order = parseRunOrder(request.orderBy)
      const conditions = filter.conditions()
      const { offset, after } = parsePageToken(request.pageToken)
      checkExperiments(request.experimentIds.length)
      const ids = request.experimentIds.map(comparableExperimentId)
      const query = order.length === 0 ? queryOf(request) : ''
      const cursor = query ? cursorOf(after, query) : undefined
      const search = { experimentIds: ids, stages: stagesOf(request.runViewType), conditions, order, offset, after: cursor }
      const read = async (caller: Caller): Promise<SearchRunsResponse> => {
        const page = await runReader.search(search, pageSize, caller)
        const runs: Run[] = []
        for await (const slice of page.slices()) {
          throwIfEnded(caller)
          for (const run of slice) runs.push(runMessage(run, false))
        }
        const last = page.ids.at(-1)
        const nextPageToken = page.more ? createPageToken(offset + pageSize, query && last ? [...last, query] : undefined) : undefined
        return { $typeName: 'millrace.tracking.v1.SearchRunsResponse', runs, nextPageToken }
      }
      return searches.read(keyOf(request), read, callOf(context))
    },

    async logInputs(request: LogInputsRequest) {
      const runId = request.runId ?? ''
      checkRunId(runId)
      const datasets = request.datasets.map(checkDatasetInput)
      await inputs.logInputs(
        runId,
        datasets,
        request.models.map(model => model.modelId ?? ''),
      )
      return { $typeName: 'millrace.tracking.v1.LogInputsResponse' as const }
    },

    async logOutputs(request: LogOutputsRequest) {
      const models = request.models.map(({ modelId = '', step = 0n }) => ({ modelId, step }))
      await inputs.logOutputs(request.runId ?? '', models)
      return { $typeName: 'millrace.tracking.v1.LogOutputsResponse' as const }
    },

    async logModel(request: LogModelRequest) {
      await runs.recordLoggedModel(request.runId ?? '', loggedModelSummary(request.modelJson ?? ''))
      return { $typeName: 'millrace.tracking.v1.LogModelResponse' as const }
    },
  }
}

const keyOf = ({ experimentIds, filter, runViewType, maxResults, orderBy, pageToken }: SearchRunsRequest) =>
  JSON.stringify([experimentIds, filter, runViewType, maxResults, orderBy, pageToken])

/** What a token's place belongs to: a token that is used for another query only says how many runs to skip, as MLflow's do. */
const queryOf = ({ experimentIds, filter, runViewType }: SearchRunsRequest) =>
  hash('sha256', JSON.stringify([experimentIds, filter ?? '', stagesOf(runViewType)])).slice(0, 16)

/** The place that a token of this query names; MLflow's tokens and those of other queries name an offset only. */
function cursorOf(after: unknown, query: string): RunCursor | undefined {
  if (!Array.isArray(after) || after[2] !== query) return undefined
  const [runId, startTime] = after
  if (typeof runId !== 'string' || !/^-?\d{1,19}$/.test(String(startTime))) return undefined
  return { runId, startTime: BigInt(startTime) }
}
