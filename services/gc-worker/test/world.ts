import { setTimeout as sleep } from 'node:timers/promises'
import { readArtifactPlace } from '@millrace/kit/artifact-place'
import { invalidParameter, invalidState } from '@millrace/kit/errors'
import type { Route } from '@millrace/kit/rpc'
import { ArtifactStoreService } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { MaintenanceService } from '@millrace/proto/millrace/tracking/v1/maintenance_pb'

interface Thing {
  id: string
  experimentId: string
  artifactUri: string
  lifecycleStage: string
  deletedTime?: bigint
  beingRemoved?: boolean
}

/** A small tracking database and artifact store in memory, behind the services' own routes. */
export class World {
  readonly runs = new Map<string, Thing>()
  readonly models = new Map<string, Thing>()
  readonly experiments = new Map<string, Thing>()
  /** When jobs of MLflow's own that have ended were created, in milliseconds since the epoch. */
  readonly jobs = new Map<string, bigint>()
  /** Keys of files by URI. */
  readonly files = new Set<string>()
  readonly deletes: string[] = []
  readonly completed: string[] = []
  readonly aborted: string[] = []
  deleteMs = 0
  completeMs = 0
  /** Called before artifacts are deleted or joined, or uploads aborted; may throw. */
  beforeDelete: (uri: string) => void | Promise<void> = () => undefined
  beforeAbort: (uri: string) => void | Promise<void> = () => undefined
  beforeComplete: (uri: string) => void | Promise<void> = () => undefined

  experiment(id: string, lifecycleStage = 'deleted', deletedTime = 1_000n, artifactUri = `mlflow-artifacts:/${id}`): void {
    this.experiments.set(id, { id, experimentId: id, artifactUri, lifecycleStage, deletedTime })
  }

  run(id: string, experimentId = '1', lifecycleStage = 'deleted', deletedTime = 1_000n): void {
    const artifactUri = `mlflow-artifacts:/${experimentId}/${id}/artifacts`
    this.runs.set(id, { id, experimentId, artifactUri, lifecycleStage, deletedTime })
    this.files.add(`${artifactUri}/model.bin`)
  }

  model(id: string, experimentId = '1', lifecycleStage = 'deleted', deletedTime = 1_000n): void {
    const artifactUri = `mlflow-artifacts:/${experimentId}/models/${id}/artifacts`
    this.models.set(id, { id, experimentId, artifactUri, lifecycleStage, deletedTime })
    this.files.add(`${artifactUri}/MLmodel`)
  }

  get metadata(): Route[] {
    const run = (one: Thing) => ({ ...one, runId: one.id })
    const experiment = (one: Thing) => ({ ...one, artifactLocation: one.artifactUri, lastUpdateTime: one.deletedTime ?? 0n })
    const model = (one: Thing) => ({ ...one, modelId: one.id, artifactLocation: one.artifactUri, lastUpdatedTime: one.deletedTime ?? 0n })
    const deleted = (things: Map<string, Thing>, before: bigint | undefined, experimentIds: string[] = []) =>
      [...things.values()].filter(
        one =>
          one.lifecycleStage === 'deleted' &&
          (before === undefined || (one.deletedTime ?? 0n) <= before) &&
          (experimentIds.length === 0 || experimentIds.includes(one.experimentId)),
      )
    const named = (things: Map<string, Thing>, ids: string[]) => ids.flatMap(id => things.get(id) ?? [])
    const modelsOf = (q: { updatedBefore?: bigint; modelIds: string[]; experimentIds: string[] }) => {
      if (q.modelIds.length > 0) return named(this.models, q.modelIds)
      if (q.experimentIds.length === 0) return deleted(this.models, q.updatedBefore)
      return [...this.models.values()].filter(one => q.experimentIds.includes(one.experimentId))
    }
    const begin = (things: Map<string, Thing>, id: string, before?: bigint) => {
      const one = things.get(id)
      if (!one) return undefined
      if (one.lifecycleStage !== 'deleted') throw invalidParameter(`${id} is active`)
      if (before !== undefined && !one.beingRemoved && (one.deletedTime ?? 0n) > before) throw invalidParameter(`${id} is too young`)
      one.beingRemoved = true
      return one
    }
    const purge = (things: Map<string, Thing>, ids: string[]) => {
      for (const one of named(things, ids)) if (one.lifecycleStage !== 'deleted') throw invalidParameter(`${one.id} is active`)
      return ids.filter(id => things.delete(id)).length
    }
    return [
      {
        service: MaintenanceService,
        implementation: {
          listDeletedRuns: (q: { deletedBefore?: bigint; experimentIds: string[]; pageSize: number; pageToken: string }) => {
            const from = Number(q.pageToken || 0)
            const all = deleted(this.runs, q.deletedBefore, q.experimentIds)
            const to = from + Math.min(q.pageSize, 50)
            return { runs: all.slice(from, to).map(run), nextPageToken: to < all.length ? String(to) : '' }
          },
          listDeletedExperiments: (q: { updatedBefore?: bigint }) => ({
            experiments: deleted(this.experiments, q.updatedBefore).map(experiment),
          }),
          listDeletedModels: (q: { updatedBefore?: bigint; modelIds: string[]; experimentIds: string[] }) => ({
            models: modelsOf(q).map(model),
          }),
          lookupRuns: (q: { runIds: string[] }) => ({ runs: named(this.runs, q.runIds).map(run) }),
          lookupExperiments: (q: { experimentIds: string[] }) => ({
            experiments: named(this.experiments, q.experimentIds).map(experiment),
          }),
          listEndedJobs: (q: { createdBefore?: bigint; jobIds: string[]; pageToken: string }) => {
            const ended = [...this.jobs].filter(([, created]) => q.createdBefore === undefined || created < q.createdBefore)
            const jobIds = ended.map(([id]) => id).filter(id => q.jobIds.length === 0 || q.jobIds.includes(id))
            const from = Number(q.pageToken || 0)
            return { jobIds: jobIds.slice(from, from + 2), nextPageToken: from + 2 < jobIds.length ? String(from + 2) : '' }
          },
          beginRunRemoval: ({ runId, deletedBefore }: { runId: string; deletedBefore?: bigint }) => {
            const one = begin(this.runs, runId, deletedBefore)
            return { run: one && run(one) }
          },
          beginExperimentRemoval: ({ experimentId }: { experimentId: string }) => {
            if ([...this.runs.values()].some(one => one.experimentId === experimentId)) {
              throw invalidState(`Experiment ${experimentId} still has runs that were not removed`)
            }
            const one = begin(this.experiments, experimentId)
            return { experiment: one && experiment(one) }
          },
          purgeJobs: (q: { jobIds: string[] }) => ({ purged: q.jobIds.filter(id => this.jobs.delete(id)).length }),
          purgeRuns: (q: { runIds: string[] }) => ({ purged: purge(this.runs, q.runIds) }),
          purgeModels: (q: { modelIds: string[] }) => ({ purged: purge(this.models, q.modelIds) }),
          purgeExperiment: (q: { experimentId: string }) => {
            for (const one of modelsOf({ modelIds: [], experimentIds: [q.experimentId] })) this.models.delete(one.id)
            return { purged: purge(this.experiments, [q.experimentId]) === 1 }
          },
        },
      },
    ]
  }

  get artifacts(): Route[] {
    const named = (uri: string) => {
      const { root, path } = readArtifactPlace(uri)
      return path === '' ? root : `${root}/${path}`
    }
    const below = (uri: string) => [...this.files].filter(file => file === uri || file.startsWith(`${uri}/`))
    return [
      {
        service: ArtifactStoreService,
        implementation: {
          delete: async ({ uri }: { uri: string }) => {
            await this.beforeDelete(uri)
            if (this.deleteMs > 0) await sleep(this.deleteMs)
            this.deletes.push(uri)
            for (const file of below(named(uri))) this.files.delete(file)
            return {}
          },
          list: ({ uri: place }: { uri: string }) => {
            const uri = named(place)
            const names = new Map<string, boolean>()
            for (const file of below(uri)) {
              const [name, ...rest] = file.slice(uri.length + 1).split('/')
              if (name) names.set(name, rest.length > 0)
            }
            return { files: [...names].map(([path, isDir]) => ({ path, isDir })) }
          },
          stat: ({ uri }: { uri: string }) => ({ exists: below(named(uri)).length > 0, isDir: !this.files.has(named(uri)) }),
          completeMultipart: async ({ uri, uploadId }: { uri: string; uploadId: string }) => {
            await this.beforeComplete(uri)
            if (this.completeMs > 0) await sleep(this.completeMs)
            this.completed.push(`${uri}#${uploadId}`)
            return {}
          },
          abortMultipart: async ({ uri, uploadId }: { uri: string; uploadId: string }) => {
            await this.beforeAbort(uri)
            this.aborted.push(`${uri}#${uploadId}`)
            return {}
          },
        },
      },
    ]
  }
}
