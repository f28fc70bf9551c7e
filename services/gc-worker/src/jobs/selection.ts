import { doesNotExist, invalidParameter } from '@millrace/kit/errors'
import type { DeletedExperiment, DeletedModel, DeletedRun } from '@millrace/proto/millrace/tracking/v1/maintenance_pb'
import { formatAge } from '../age.ts'
import { type Clients, metadataCall } from '../dependencies.ts'
import type { NewItem } from '../store/items.ts'

/** What `mlflow gc` is asked for: an empty list stands for everything that is deleted, or has ended. */
export interface Selection {
  readonly runIds: readonly string[]
  readonly experimentIds: readonly string[]
  readonly loggedModelIds: readonly string[]
  readonly olderThanMs?: number
  /** Whether jobs of MLflow's own go too: those named, else all. Only such as have ended are meant, in both cases. */
  readonly jobs: boolean
  readonly jobIds: readonly string[]
}

const PAGE_ROWS = 1_000
const LOOKUP_IDS_MAX = 500

/**
 * The items that `selection` stands for, runs first, then logged models, then experiments, then jobs. As in `mlflow gc` (reference: cli-and-env),
 * the three lists are independent, and an experiment brings all its deleted runs and models.
 * @param now milliseconds since the epoch.
 * @throws MlflowError with MLflow's words for a named thing that is unknown, not deleted or too young. Everything named is looked at
 *   before the first item comes.
 */
export async function* select(clients: Clients, selection: Selection, now: number): AsyncGenerator<NewItem> {
  const rules = new Rules(selection.olderThanMs, now)
  const named = await namedExperiments(clients, rules, unique(selection.experimentIds))
  const experiments = named ?? (await collect(deletedExperiments(clients, rules)))
  const runs = await namedRuns(clients, rules, unique(selection.runIds))
  const models = await namedModels(clients, rules, unique(selection.loggedModelIds))
  const experimentIds = experiments.map(experiment => experiment.experimentId)

  const extraRuns = experimentIds.length === 0 ? [] : await collect(runPages(clients, undefined, experimentIds))
  for (const run of extraRuns) rules.checkRun(run)
  const extraModels = experimentIds.length === 0 ? [] : await collect(modelPages(clients, undefined, [], experimentIds))
  const deletedModels = extraModels.filter(model => model.lifecycleStage === 'deleted')
  for (const model of deletedModels) rules.checkModel(model)

  const seen = new Set<string>()
  const fresh = (id: string) => !seen.has(id) && Boolean(seen.add(id))
  for await (const run of chain(runs ?? runPages(clients, rules.deletedBefore, []), extraRuns)) if (fresh(run.runId)) yield runItem(run)
  for await (const model of chain(models ?? modelPages(clients, rules.deletedBefore, [], []), deletedModels)) {
    if (fresh(model.modelId)) yield modelItem(model)
  }
  for (const experiment of experiments) yield experimentItem(experiment)
  if (!selection.jobs) return
  const jobIds = unique(selection.jobIds)
  for await (const id of chain(...jobParts(jobIds).map(part => endedJobs(clients, rules.deletedBefore, part)))) yield jobItem(id)
}

/** The conditions that a named thing has to meet, in MLflow's words. */
class Rules {
  /** The newest time of deletion that is old enough, milliseconds since the epoch; undefined without an age. */
  readonly deletedBefore: bigint | undefined
  readonly #age: string

  constructor(olderThanMs: number | undefined, now: number) {
    this.deletedBefore = olderThanMs === undefined ? undefined : BigInt(now - olderThanMs)
    this.#age = formatAge(olderThanMs ?? 0)
  }

  checkExperiments(experiments: readonly DeletedExperiment[]): void {
    const ids = (wrong: (experiment: DeletedExperiment) => boolean) =>
      experiments
        .filter(wrong)
        .map(experiment => `'${experiment.experimentId}'`)
        .join(', ')
    const active = ids(experiment => experiment.lifecycleStage !== 'deleted')
    if (active !== '') {
      throw invalidParameter(
        `Experiments [${active}] are not in the deleted lifecycle stage. Only experiments in the deleted lifecycle stage can be hard-deleted.`,
      )
    }
    const { deletedBefore } = this
    const young = deletedBefore === undefined ? '' : ids(({ lastUpdateTime: time }) => time === 0n || time >= deletedBefore)
    if (young !== '') {
      const which = `Experiments [${young}] are not older than the required age.`
      throw invalidParameter(`${which} Only experiments older than ${this.#age} can be deleted.`)
    }
  }

  checkRun(run: DeletedRun): void {
    if (run.lifecycleStage !== 'deleted') throw invalidParameter(notDeleted('Run', 'runs', run.runId))
    if (isYounger(run.deletedTime, this.deletedBefore)) throw this.#tooYoung('Run', 'runs', run.runId)
  }

  checkModel(model: DeletedModel): void {
    if (model.lifecycleStage !== 'deleted') throw invalidParameter(notDeleted('Logged model', 'logged models', model.modelId))
    if (isYounger(model.lastUpdatedTime, this.deletedBefore)) throw this.#tooYoung('Logged model', 'logged models', model.modelId)
  }

  #tooYoung(what: string, many: string, id: string) {
    return invalidParameter(`${what} ${id} is not older than the required age. Only ${many} older than ${this.#age} can be deleted.`)
  }
}

/** Whether something was deleted after `deletedBefore`. What has no time of deletion was deleted by an old version, long ago. */
export function isYounger(deleted: bigint | undefined, deletedBefore: bigint | undefined | null): boolean {
  return deletedBefore !== undefined && deletedBefore !== null && deleted !== undefined && deleted > deletedBefore
}

export function notDeleted(what: string, many: string, id: string): string {
  return `${what} ${id} is not in \`deleted\` lifecycle stage. Only ${many} in \`deleted\` lifecycle stage can be deleted.`
}

async function namedExperiments(clients: Clients, rules: Rules, ids: readonly string[]): Promise<DeletedExperiment[] | undefined> {
  if (ids.length === 0) return undefined
  const found = await lookup(ids, async experimentIds => {
    return (await clients.maintenance.lookupExperiments({ experimentIds }, metadataCall(clients.call))).experiments
  })
  const experiments = inOrder(
    ids,
    found,
    experiment => experiment.experimentId,
    id => `No Experiment with id=${id} exists`,
  )
  rules.checkExperiments(experiments)
  return experiments
}

async function namedRuns(clients: Clients, rules: Rules, ids: readonly string[]): Promise<DeletedRun[] | undefined> {
  if (ids.length === 0) return undefined
  const found = await lookup(ids, async runIds => (await clients.maintenance.lookupRuns({ runIds }, metadataCall(clients.call))).runs)
  const runs = inOrder(
    ids,
    found,
    run => run.runId,
    id => `Run with id=${id} not found`,
  )
  for (const run of runs) rules.checkRun(run)
  return runs
}

async function namedModels(clients: Clients, rules: Rules, ids: readonly string[]): Promise<DeletedModel[] | undefined> {
  if (ids.length === 0) return undefined
  const found = await lookup(ids, modelIds => collect(modelPages(clients, undefined, modelIds, [])))
  const models = inOrder(
    ids,
    found,
    model => model.modelId,
    id => `Logged model with ID '${id}' not found.`,
  )
  for (const model of models) rules.checkModel(model)
  return models
}

async function lookup<T>(ids: readonly string[], find: (ids: string[]) => Promise<T[]>): Promise<T[]> {
  const found: T[] = []
  for (let from = 0; from < ids.length; from += LOOKUP_IDS_MAX) found.push(...(await find(ids.slice(from, from + LOOKUP_IDS_MAX))))
  return found
}

function inOrder<T>(ids: readonly string[], found: readonly T[], idOf: (one: T) => string, missing: (id: string) => string): T[] {
  const byId = new Map(found.map(one => [idOf(one), one]))
  return ids.map(id => {
    const one = byId.get(id)
    if (one === undefined) throw doesNotExist(missing(id))
    return one
  })
}

/** Pages from the first to the last. @param fetch the page of a token; that of the first is empty. */
async function* pages<P extends { nextPageToken: string }>(fetch: (pageToken: string) => Promise<P>): AsyncGenerator<P> {
  let pageToken = ''
  do {
    const page = await fetch(pageToken)
    yield page
    pageToken = page.nextPageToken
  } while (pageToken !== '')
}

async function* runPages(
  { maintenance, call }: Clients,
  deletedBefore: bigint | undefined,
  experimentIds: string[],
): AsyncGenerator<DeletedRun> {
  const request = { deletedBefore, experimentIds, pageSize: PAGE_ROWS }
  const fetch = (pageToken: string) => maintenance.listDeletedRuns({ ...request, pageToken }, metadataCall(call))
  for await (const page of pages(fetch)) yield* page.runs
}

/** Deleted models; those named, or of named experiments, in any stage. */
export async function* modelPages(
  { maintenance, call }: Clients,
  updatedBefore: bigint | undefined,
  modelIds: string[],
  experimentIds: string[],
): AsyncGenerator<DeletedModel> {
  const request = { updatedBefore, modelIds, experimentIds, pageSize: PAGE_ROWS }
  const fetch = (pageToken: string) => maintenance.listDeletedModels({ ...request, pageToken }, metadataCall(call))
  for await (const page of pages(fetch)) yield* page.models
}

async function* deletedExperiments({ maintenance, call }: Clients, rules: Rules): AsyncGenerator<DeletedExperiment> {
  const request = { updatedBefore: rules.deletedBefore, pageSize: PAGE_ROWS }
  const fetch = (pageToken: string) => maintenance.listDeletedExperiments({ ...request, pageToken }, metadataCall(call))
  for await (const page of pages(fetch)) yield* page.experiments
}

/** One part without names stands for all jobs. */
function jobParts(ids: readonly string[]): string[][] {
  const parts: string[][] = []
  for (let from = 0; from === 0 || from < ids.length; from += LOOKUP_IDS_MAX) parts.push(ids.slice(from, from + LOOKUP_IDS_MAX))
  return parts
}

async function* endedJobs({ maintenance, call }: Clients, createdBefore: bigint | undefined, jobIds: string[]): AsyncGenerator<string> {
  const request = { createdBefore, jobIds, pageSize: PAGE_ROWS }
  const fetch = (pageToken: string) => maintenance.listEndedJobs({ ...request, pageToken }, metadataCall(call))
  for await (const page of pages(fetch)) yield* page.jobIds
}

function runItem(run: DeletedRun): NewItem {
  return { kind: 'RUN', subjectId: run.runId, experimentId: run.experimentId, artifactUri: run.artifactUri }
}

function modelItem(model: DeletedModel): NewItem {
  return { kind: 'LOGGED_MODEL', subjectId: model.modelId, experimentId: model.experimentId, artifactUri: model.artifactLocation }
}

function experimentItem(experiment: DeletedExperiment): NewItem {
  const id = experiment.experimentId
  return { kind: 'EXPERIMENT', subjectId: id, experimentId: id, artifactUri: experiment.artifactLocation }
}

function jobItem(id: string): NewItem {
  return { kind: 'JOB', subjectId: id, experimentId: '', artifactUri: '' }
}

function unique(ids: readonly string[]): string[] {
  return [...new Set(ids)]
}

async function* chain<T>(...parts: (AsyncIterable<T> | Iterable<T>)[]): AsyncGenerator<T> {
  for (const part of parts) yield* part
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const value of values) all.push(value)
  return all
}
