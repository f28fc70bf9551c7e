import type { ServiceImpl } from '@connectrpc/connect'
import { doesNotExist, invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import type { Experiment, ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import type { MetadataContext } from '../context.ts'
import type { ExperimentWithTags } from '../store/experiments/experiments.ts'
import { checkArtifactLocation } from './artifact-location.ts'
import { checkLength } from './checks.ts'
import { checkCustomViews, checkExperimentTag, isCustomView } from './experiment-tags.ts'

type Methods = Exclude<keyof ServiceImpl<typeof ExperimentService>, 'searchExperiments'>

const NAME_LENGTH_MAX = 500

export function experiments({
  experiments: store,
  config,
}: Pick<MetadataContext, 'experiments' | 'config'>): Pick<ServiceImpl<typeof ExperimentService>, Methods> {
  return {
    async createExperiment(request) {
      const tags = request.tags.map(({ key = '', value = '' }) => ({ key, value }))
      checkCustomViews(tags)
      const location = request.artifactLocation ? checkArtifactLocation(request.artifactLocation, config) : undefined
      const name = checkName(request.name ?? '')
      for (const tag of tags) checkExperimentTag(tag)
      return { experimentId: await store.create(name, location, tags) }
    },

    async getExperiment(request) {
      return { experiment: experimentMessage(await store.get(request.experimentId ?? '')) }
    },

    async getExperimentByName(request) {
      const name = request.experimentName ?? ''
      const found = await store.getByName(name)
      if (!found) throw doesNotExist(`Could not find experiment with name '${shorten(name)}'`)
      return { experiment: experimentMessage(found) }
    },

    async updateExperiment(request) {
      if (request.newName) await store.rename(request.experimentId ?? '', checkName(request.newName))
      return {}
    },

    async deleteExperiment(request) {
      await store.delete(request.experimentId ?? '')
      return {}
    },

    async restoreExperiment(request) {
      await store.restore(request.experimentId ?? '')
      return {}
    },

    async setExperimentTag(request) {
      const tag = { key: request.key ?? '', value: request.value ?? '' }
      checkExperimentTag(tag)
      await store.setTag(
        request.experimentId ?? '',
        tag,
        isCustomView(tag.key) ? found => checkCustomViews([...found.tags.filter(t => t.key !== tag.key), tag], found) : undefined,
      )
      return {}
    },

    async deleteExperimentTag(request) {
      await store.deleteTag(request.experimentId ?? '', request.key ?? '')
      return {}
    },
  }
}

function checkName(name: string): string {
  if (name === '') throw invalidParameter("Invalid experiment name: ''")
  checkLength('name', name, NAME_LENGTH_MAX)
  return name
}

function experimentMessage(row: ExperimentWithTags): Experiment {
  return {
    $typeName: 'millrace.tracking.v1.Experiment',
    experimentId: String(row.experiment_id),
    name: row.name,
    artifactLocation: row.artifact_location ?? undefined,
    lifecycleStage: row.lifecycle_stage,
    lastUpdateTime: row.last_update_time === null ? undefined : BigInt(row.last_update_time),
    creationTime: row.creation_time === null ? undefined : BigInt(row.creation_time),
    tags: row.tags.map(({ key, value }) => ({ $typeName: 'millrace.tracking.v1.ExperimentTag' as const, key, value: value ?? '' })),
    workspace: row.workspace,
  }
}
