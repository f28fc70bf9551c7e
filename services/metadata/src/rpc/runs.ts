import { randomUUID } from 'node:crypto'
import type { ServiceImpl } from '@connectrpc/connect'
import { callOf } from '@millrace/kit/call-context'
import { badRequest, doesNotExist, invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { type RunInfo, type RunService, RunStatus, type RunTag } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import type { MetadataContext } from '../context.ts'
import { experimentId } from '../search/values.ts'
import { randomRunName } from '../store/runs/names.ts'
import { type KeyValue, RUN_NAME_TAG, type RunRow } from '../store/runs/writes.ts'
import { checkBatch } from './batch.ts'
import { checkParam, checkTag } from './entries.ts'

type Methods = 'createRun' | 'updateRun' | 'deleteRun' | 'restoreRun' | 'logParam' | 'setTag' | 'deleteTag' | 'logBatch'

const INT32_MAX = 2_147_483_647n
const none: readonly never[] = []

export function runs({
  runWrites,
  runs: store,
  config,
}: Pick<MetadataContext, 'runWrites' | 'runs' | 'config'>): Pick<ServiceImpl<typeof RunService>, Methods> {
  const truncate = config.truncateLongValues
  return {
    async createRun(request, context) {
      const { experimentId: given = '', userId = '', startTime = 0n } = request
      const experiment = checkExperiment(given)
      const tags = request.tags.map(({ key = '', value = '' }) => ({ key, value }))
      const name = nameOf(request.runName ?? '', tags)
      const runId = randomUUID().replaceAll('-', '')
      const artifactUri = await runWrites.create({ runId, experimentId: experiment, userId, name, startTime, tags }, callOf(context))
      return {
        $typeName: 'millrace.tracking.v1.CreateRunResponse' as const,
        run: {
          $typeName: 'millrace.tracking.v1.Run' as const,
          info: {
            $typeName: 'millrace.tracking.v1.RunInfo' as const,
            runUuid: runId,
            // As it was written, as in MLflow's answer: 01 stays 01.
            experimentId: given,
            runName: name,
            userId,
            status: RunStatus.RUNNING,
            startTime,
            artifactUri,
            lifecycleStage: 'active',
            runId,
          },
          data: { $typeName: 'millrace.tracking.v1.RunData' as const, metrics: [], params: [], tags: tags.map(tagMessage) },
          inputs: { $typeName: 'millrace.tracking.v1.RunInputs' as const, datasetInputs: [], modelInputs: [] },
        },
      }
    },

    async updateRun(request, context) {
      const runId = request.runId || request.runUuid || ''
      const status = request.status === undefined ? undefined : statusName(request.status)
      const row = await runWrites.update({ runId, status, endTime: request.endTime, name: request.runName }, callOf(context))
      return { $typeName: 'millrace.tracking.v1.UpdateRunResponse' as const, runInfo: infoMessage(row) }
    },

    async deleteRun(request) {
      await store.delete(request.runId ?? '')
      return { $typeName: 'millrace.tracking.v1.DeleteRunResponse' as const }
    },

    async restoreRun(request) {
      await store.restore(request.runId ?? '')
      return { $typeName: 'millrace.tracking.v1.RestoreRunResponse' as const }
    },

    async logParam(request, context) {
      const params = [checkParam(request, 'key', truncate)]
      await runWrites.log(
        { runId: request.runId || request.runUuid || '', metrics: none, params, tags: none, batch: false },
        callOf(context),
      )
      return { $typeName: 'millrace.tracking.v1.LogParamResponse' as const }
    },

    async setTag(request, context) {
      const tag = checkTag(request, '', truncate)
      const tags = tag.key === RUN_NAME_TAG && tag.value === '' ? none : [tag]
      await runWrites.log(
        { runId: request.runId || request.runUuid || '', metrics: none, params: none, tags, batch: false },
        callOf(context),
      )
      return { $typeName: 'millrace.tracking.v1.SetTagResponse' as const }
    },

    async deleteTag(request) {
      await store.deleteTag(request.runId ?? '', request.key ?? '')
      return { $typeName: 'millrace.tracking.v1.DeleteTagResponse' as const }
    },

    async logBatch(request, context) {
      await runWrites.log(checkBatch(request, truncate), callOf(context))
      return { $typeName: 'millrace.tracking.v1.LogBatchResponse' as const }
    },
  }
}

/** MLflow's store takes "" for the default experiment when it looks it up, and then fails to refer to it. */
function checkExperiment(text: string): number {
  if (text === '') throw badRequest('A run needs an experiment: experiment_id is empty')
  const id = experimentId(text)
  if (id < 0n || id > INT32_MAX) throw doesNotExist(`No Experiment with id=${shorten(String(id))} exists`)
  return Number(id)
}

/** The run's name: as given, as its tag says, or a random one. The tag is added to `tags` when it isn't there or is empty. */
function nameOf(given: string, tags: KeyValue[]): string {
  const tagged = tags.find(tag => tag.key === RUN_NAME_TAG)
  if (given && tagged?.value && given !== tagged.value) {
    throw invalidParameter(
      "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values " +
        `(run_name='${shorten(given)}', mlflow.runName='${shorten(tagged.value)}').`,
    )
  }
  const name = given || tagged?.value || randomRunName()
  if (!tagged?.value) tags.push({ key: RUN_NAME_TAG, value: name })
  if (new Set(tags.map(tag => tag.key)).size < tags.length) throw badRequest('A run cannot have two tags of the same key')
  return name
}

const STATUS_NAMES: Record<RunStatus, string | undefined> = {
  [RunStatus.UNSPECIFIED]: undefined,
  [RunStatus.RUNNING]: 'RUNNING',
  [RunStatus.SCHEDULED]: 'SCHEDULED',
  [RunStatus.FINISHED]: 'FINISHED',
  [RunStatus.FAILED]: 'FAILED',
  [RunStatus.KILLED]: 'KILLED',
}

function statusName(status: RunStatus): string {
  const name = STATUS_NAMES[status]
  if (!name) throw invalidParameter(`Invalid run status ${status}: use RUNNING, SCHEDULED, FINISHED, FAILED or KILLED`)
  return name
}

const tagMessage = ({ key, value }: KeyValue): RunTag => ({ $typeName: 'millrace.tracking.v1.RunTag', key, value })

function infoMessage(row: RunRow): RunInfo {
  const status = Object.entries(STATUS_NAMES).find(([, name]) => name === row.status)?.[0]
  return {
    $typeName: 'millrace.tracking.v1.RunInfo',
    runUuid: row.run_uuid,
    experimentId: String(row.experiment_id),
    runName: row.name ?? undefined,
    userId: row.user_id ?? '',
    status: Number(status ?? RunStatus.UNSPECIFIED),
    startTime: row.start_time ?? 0n,
    endTime: row.end_time || undefined,
    artifactUri: row.artifact_uri || undefined,
    lifecycleStage: row.lifecycle_stage,
    runId: row.run_uuid,
  }
}
