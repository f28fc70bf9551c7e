import { artifactPlace } from '@millrace/kit/artifact-place'
import { invalidState } from '@millrace/kit/errors'
import type { DeletedModel } from '@millrace/proto/millrace/tracking/v1/maintenance_pb'
import { artifactsCall, type Clients, metadataCall } from '../dependencies.ts'
import type { Item } from '../store/items.ts'
import { pruneFolder } from './experiment-folder.ts'
import { folderAround, isRemovable, ownFolder, relativeRoot } from './locations.ts'
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
 * Removes one item for good: artifacts first, then rows. Before the first of them it is marked, in one transaction with the look whether it
 * is still deleted: what was restored since the selection keeps everything, and what is marked can't be restored. Absent is success.
 * Repeating it after a crash is safe at every point, and a later job finishes what is marked.
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
  const { maintenance, call } = context.clients
  const { subjectId: runId } = item
  const deletedBefore = context.deletedBefore ?? undefined
  const { runs } = await maintenance.lookupRuns({ runIds: [runId] }, metadataCall(call))
  const run = runs[0]
  if (run && (run.lifecycleStage !== 'deleted' || (!run.beingRemoved && isYounger(run.deletedTime, deletedBefore)))) {
    throw spared(item, 'Run', 'runs')
  }
  const uri = run?.artifactUri ?? item.artifactUri
  if (item.state === 'PENDING' && !run?.beingRemoved) await checkPlace(context, uri)
  await maintenance.beginRunRemoval({ runId, deletedBefore }, metadataCall(call))
  await removeArtifacts(context, item, uri)
  await maintenance.purgeRuns({ runIds: [runId] }, metadataCall(call))
  return 'done'
}

/** Nothing makes a deleted model active again, so there is no mark to set. */
async function removeModel(context: RemovalContext, item: Item): Promise<Removal> {
  const { maintenance, call } = context.clients
  const { models } = await maintenance.listDeletedModels({ modelIds: [item.subjectId], pageSize: 1 }, metadataCall(call))
  const model = models[0]
  if (model && (model.lifecycleStage !== 'deleted' || isYounger(model.lastUpdatedTime, context.deletedBefore))) {
    throw spared(item, 'Logged model', 'logged models')
  }
  const uri = model?.artifactLocation ?? item.artifactUri
  if (item.state === 'PENDING') await checkPlace(context, uri)
  await removeArtifacts(context, item, uri)
  await maintenance.purgeModels({ modelIds: [item.subjectId] }, metadataCall(call))
  return 'done'
}

async function removeExperiment(context: RemovalContext, item: Item): Promise<Removal> {
  const { maintenance, call } = context.clients
  const id = item.subjectId
  const { experiments } = await maintenance.lookupExperiments({ experimentIds: [id] }, metadataCall(call))
  const experiment = experiments[0]
  // SQLite gives the number of a removed experiment to a new one, so nothing of an absent experiment is touched.
  if (!experiment) return 'done'
  if (experiment.lifecycleStage !== 'deleted') throw spared(item, 'Experiment', 'experiments')
  if (await context.hasOpen(id)) return 'later'
  // Deleting an experiment leaves its models as they are: those that were active go with it.
  const models: DeletedModel[] = []
  for await (const model of modelPages(context.clients, undefined, [], [id])) {
    if (model.lifecycleStage === 'deleted') throw invalidState(`Experiment ${id} still has logged models that were not removed`)
    models.push(model)
  }
  const isPending = item.state === 'PENDING'
  if (isPending && !experiment.beingRemoved) for (const { artifactLocation: uri } of models) await checkPlace(context, uri)
  await maintenance.beginExperimentRemoval({ experimentId: id, updatedBefore: context.deletedBefore ?? undefined }, metadataCall(call))
  if (isPending) {
    for (const { artifactLocation: uri, modelId } of models) await removeAll(context, uri, modelId)
    const folder = ownFolder(experiment.artifactLocation, id, context.defaultArtifactRoot)
    if (folder !== undefined) await pruneFolder(context.clients, folder)
    await context.artifactsRemoved(item)
  }
  await maintenance.purgeExperiment({ experimentId: id }, metadataCall(call))
  return 'done'
}

async function removeJob({ clients }: RemovalContext, item: Item): Promise<Removal> {
  await clients.maintenance.purgeJobs({ jobIds: [item.subjectId] }, metadataCall(clients.call))
  return 'done'
}

async function removeArtifacts(context: RemovalContext, item: Item, uri: string): Promise<void> {
  if (item.state !== 'PENDING') return
  await removeAll(context, uri, item.subjectId)
  await context.artifactsRemoved(item)
}

/**
 * Refuses what can't be removed, before anything is touched and anything is marked: the root of a store, a store that can't be reached,
 * a place that is not the one that the URI names. There absence would prove nothing.
 */
async function checkPlace({ clients: { artifacts, call } }: RemovalContext, uri: string): Promise<void> {
  if (uri === '') return
  if (!isRemovable(uri)) throw invalidState(`The artifact location '${uri}' is the root of a store and is not removed`)
  const { exists, hostIgnored } = await artifacts.stat({ uri: artifactPlace(uri) }, artifactsCall(call))
  if (exists) return
  if (hostIgnored) throw hostUnknown(uri)
  const root = relativeRoot(uri)
  if (root === undefined) return
  const around = await artifacts.stat({ uri: artifactPlace(`./${root.replaceAll('%', '%25')}`) }, artifactsCall(call))
  if (around.exists) return
  throw invalidState(
    `The artifact location '${uri}' is relative to the folder that its server was started in, which is another one: this one has no '${root}'`,
  )
}

const hostUnknown = (uri: string) =>
  invalidState(
    `The artifact location '${uri}' names a host that this server does not know, and its own artifacts have nothing there. Say whose it is: ` +
      'name the host by MILLRACE_PUBLIC_URL or --default-artifact-root, or use `millrace gc --backend-store-uri`, which asks that host.',
  )

/** @param id of whom the artifacts are; a folder of that name around them goes too when nothing is left in it. */
async function removeAll({ clients }: RemovalContext, uri: string, id: string): Promise<void> {
  if (uri === '') return
  await clients.artifacts.delete({ uri: artifactPlace(uri) }, artifactsCall(clients.call))
  const around = folderAround(uri, id)
  if (around !== undefined) await pruneFolder(clients, around, 0)
}

function spared(item: Item, what: string, many: string) {
  const when = item.state === 'ARTIFACTS_REMOVED' ? ' It was restored after its artifacts had been removed.' : ''
  return invalidState(notDeleted(what, many, item.subjectId) + when)
}
