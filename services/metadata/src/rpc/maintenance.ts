import type { ServiceImpl } from '@connectrpc/connect'
import { invalidParameter } from '@millrace/kit/errors'
import type { MaintenanceService } from '@millrace/proto/millrace/tracking/v1/maintenance_pb'
import type { MetadataContext } from '../context.ts'
import { comparableExperimentId } from '../search/values.ts'
import type { ExperimentLocation, LoggedModelLocation, RunLocation, TimePlace } from '../store/maintenance.ts'

const PAGE_ROWS_DEFAULT = 1000
const PAGE_ROWS_MAX = 10_000

export function maintenance({ maintenance: store }: Pick<MetadataContext, 'maintenance'>): ServiceImpl<typeof MaintenanceService> {
  return {
    async listDeletedRuns({ deletedBefore, experimentIds, pageSize, pageToken }) {
      const limit = pageRows(pageSize)
      const found = await store.deletedRuns(deletedBefore, experimentIds.map(comparableExperimentId), limit, placeOf(pageToken))
      const last = found.length === limit ? found.at(-1) : undefined
      return { runs: found.map(runMessage), nextPageToken: last ? `${last.deleted_time ?? 0n}:${last.run_uuid}` : '' }
    },
    async listDeletedExperiments({ updatedBefore, pageSize, pageToken }) {
      const limit = pageRows(pageSize)
      const found = await store.deletedExperiments(updatedBefore, limit, pageToken ? comparableExperimentId(pageToken) : undefined)
      const last = found.length === limit ? found.at(-1) : undefined
      return { experiments: found.map(experimentMessage), nextPageToken: last ? String(last.experiment_id) : '' }
    },
    async listDeletedModels({ updatedBefore: before, modelIds, experimentIds, pageSize, pageToken }) {
      const limit = pageRows(pageSize)
      const filter = { before, modelIds, experimentIds: experimentIds.map(comparableExperimentId) }
      const found = await store.deletedLoggedModels(filter, limit, placeOf(pageToken))
      const last = found.length === limit ? found.at(-1) : undefined
      return { models: found.map(loggedModelMessage), nextPageToken: last ? `${last.last_updated_timestamp_ms}:${last.model_id}` : '' }
    },
    async listEndedJobs({ createdBefore: before, jobIds: ids, pageSize, pageToken }) {
      const limit = pageRows(pageSize)
      const found = await store.endedJobs({ before, ids }, limit, placeOf(pageToken))
      const last = found.length === limit ? found.at(-1) : undefined
      return { jobIds: found.map(job => job.id), nextPageToken: last ? `${last.creation_time}:${last.id}` : '' }
    },
    async lookupRuns({ runIds }) {
      return { runs: (await store.runs(runIds)).map(runMessage) }
    },
    async lookupExperiments({ experimentIds }) {
      return { experiments: (await store.experiments(experimentIds.map(comparableExperimentId))).map(experimentMessage) }
    },
    async beginRunRemoval({ runId, deletedBefore }) {
      const [run] = await store.beginRuns([runId], deletedBefore)
      return { run: run && { ...runMessage(run), beingRemoved: true } }
    },
    async beginExperimentRemoval({ experimentId: id, updatedBefore }) {
      const experiment = await store.beginExperiment(comparableExperimentId(id), updatedBefore)
      return { experiment: experiment && { ...experimentMessage(experiment), beingRemoved: true } }
    },
    async purgeRuns({ runIds }) {
      return { purged: await store.purgeRuns(runIds) }
    },
    async purgeExperiment({ experimentId: id }) {
      return { purged: await store.purgeExperiment(comparableExperimentId(id)) }
    },
    async purgeModels({ modelIds }) {
      return { purged: await store.purgeLoggedModels(modelIds) }
    },
    async purgeJobs({ jobIds }) {
      return { purged: await store.purgeJobs(jobIds) }
    },
  }
}

const pageRows = (asked: number) => (asked > 0 ? Math.min(asked, PAGE_ROWS_MAX) : PAGE_ROWS_DEFAULT)

function placeOf(token: string): TimePlace | undefined {
  if (!token) return undefined
  const [, time, id] = /^(-?\d{1,19}):(.*)$/s.exec(token) ?? []
  if (time === undefined || id === undefined) throw invalidParameter('Invalid page token')
  return { time: BigInt(time), id }
}

const runMessage = (run: RunLocation) => ({
  runId: run.run_uuid,
  experimentId: String(run.experiment_id),
  artifactUri: run.artifact_uri ?? '',
  lifecycleStage: run.lifecycle_stage,
  deletedTime: run.deleted_time ?? undefined,
  beingRemoved: run.being_removed !== 0n,
})

const experimentMessage = (experiment: ExperimentLocation) => ({
  experimentId: String(experiment.experiment_id),
  name: experiment.name,
  artifactLocation: experiment.artifact_location ?? '',
  lifecycleStage: experiment.lifecycle_stage,
  lastUpdateTime: experiment.last_update_time ?? 0n,
  beingRemoved: experiment.being_removed !== 0n,
})

const loggedModelMessage = (model: LoggedModelLocation) => ({
  modelId: model.model_id,
  experimentId: String(model.experiment_id),
  artifactLocation: model.artifact_location,
  lifecycleStage: model.lifecycle_stage,
  lastUpdatedTime: model.last_updated_timestamp_ms,
})
