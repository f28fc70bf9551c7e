import { artifactPlace } from '@millrace/kit/artifact-place'
import { invalidState } from '@millrace/kit/errors'
import { ViewType } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { artifactsCall, type Clients, metadataCall } from '../dependencies.ts'
import type { Item } from '../store/items.ts'
import { pruneFolder } from './experiment-folder.ts'
import { isRemovable, ownFolder } from './locations.ts'
import { isYounger, modelPages, notDeleted } from './selection.ts'

/** What the removal of an item needs from the job around it. */
export interface RemovalContext {
  readonly clients: Clients
  readonly defaultArtifactRoot: string | undefined
  /** Only what was deleted at or before this time, milliseconds since the epoch; null without that limit. */
  readonly deletedBefore: bigint | null
  /** Writes that the item's artifacts are gone. Called before its rows are touched. */
  artifactsRemoved(item: Item): Promise<void>
  /** Whether the job still has to remove a run or a model of the experiment. */
  hasOpen(experimentId: string): Promise<boolean>
}

/** Whether the item is gone, or has to wait for others of the job. */
export type Removal = 'done' | 'later'

/**
 * Removes one item for good: artifacts first, then rows. Whether it is still deleted is asked again just before: what was restored since
 * the selection keeps everything. Absent is success. Repeating it after a crash is safe at every point.
 * @throws MlflowError why it could not be removed; its rows are still there then.
 */
export function removeItem(context: RemovalContext, item: Item): Promise<Removal> {
  switch (item.kind) {
    case 'RUN':
      return removeRun(context, item)
    case 'LOGGED_MODEL':
      return removeModel(context, item)
    case 'EXPERIMENT':
      return removeExperiment(context, item)
    case 'JOB':
      return removeJob(context, item)
    default:
      return item.kind satisfies never
  }
}

async function removeRun(context: RemovalContext, item: Item): Promise<Removal> {
  const { maintenance } = context.clients
  const { runs } = await maintenance.lookupRuns({ runIds: [item.subjectId] }, metadataCall())
  const run = runs[0]
  if (run && (run.lifecycleStage !== 'deleted' || isYounger(run.deletedTime, context.deletedBefore))) throw spared(item, 'Run', 'runs')
  await removeArtifacts(context, item, run?.artifactUri ?? item.artifactUri)
  await maintenance.purgeRuns({ runIds: [item.subjectId] }, metadataCall())
  return 'done'
}

async function removeModel(context: RemovalContext, item: Item): Promise<Removal> {
  const { maintenance } = context.clients
  const { models } = await maintenance.listDeletedModels({ modelIds: [item.subjectId], pageSize: 1 }, metadataCall())
  const model = models[0]
  if (model && (model.lifecycleStage !== 'deleted' || isYounger(model.lastUpdatedTime, context.deletedBefore))) {
    throw spared(item, 'Logged model', 'logged models')
  }
  await removeArtifacts(context, item, model?.artifactLocation ?? item.artifactUri)
  await maintenance.purgeModels({ modelIds: [item.subjectId] }, metadataCall())
  return 'done'
}

async function removeExperiment(context: RemovalContext, item: Item): Promise<Removal> {
  const { maintenance, runs, artifacts } = context.clients
  const id = item.subjectId
  const { experiments } = await maintenance.lookupExperiments({ experimentIds: [id] }, metadataCall())
  const experiment = experiments[0]
  // SQLite gives the number of a removed experiment to a new one, so nothing of an absent experiment is touched.
  if (!experiment) return 'done'
  if (experiment.lifecycleStage !== 'deleted') throw spared(item, 'Experiment', 'experiments')
  if (await context.hasOpen(id)) return 'later'
  const left = await runs.searchRuns({ experimentIds: [id], runViewType: ViewType.ALL, maxResults: 1 }, metadataCall())
  if (left.runs.length > 0) throw invalidState(`Experiment ${id} still has runs that were not removed`)
  // Deleting an experiment leaves its models as they are: those that were active go with it now.
  const models: string[] = []
  for await (const model of modelPages(context.clients, undefined, [], [id])) {
    if (model.lifecycleStage === 'deleted') throw invalidState(`Experiment ${id} still has logged models that were not removed`)
    models.push(model.artifactLocation)
  }
  if (item.state === 'PENDING') {
    for (const uri of models) await removeAll(context, uri)
    const folder = ownFolder(experiment.artifactLocation, id, context.defaultArtifactRoot)
    if (folder !== undefined) await pruneFolder(artifacts, folder)
    await context.artifactsRemoved(item)
  }
  await maintenance.purgeExperiment({ experimentId: id }, metadataCall())
  return 'done'
}

async function removeJob({ clients }: RemovalContext, item: Item): Promise<Removal> {
  await clients.maintenance.purgeJobs({ jobIds: [item.subjectId] }, metadataCall())
  return 'done'
}

async function removeArtifacts(context: RemovalContext, item: Item, uri: string): Promise<void> {
  if (item.state !== 'PENDING') return
  await removeAll(context, uri)
  await context.artifactsRemoved(item)
}

async function removeAll(context: RemovalContext, uri: string): Promise<void> {
  if (uri === '') return
  if (!isRemovable(uri)) throw invalidState(`The artifact location '${uri}' is the root of a store and is not removed`)
  await context.clients.artifacts.delete({ uri: artifactPlace(uri) }, artifactsCall())
}

function spared(item: Item, what: string, many: string) {
  const when = item.state === 'ARTIFACTS_REMOVED' ? ' It was restored after its artifacts had been removed.' : ''
  return invalidState(notDeleted(what, many, item.subjectId) + when)
}
