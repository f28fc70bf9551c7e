import { createLogger } from '@millrace/kit/logger'
import type { Route } from '@millrace/kit/rpc'
import type { GcWorkerConfig } from './config.ts'
import { createClients, type GcWorkerDependencies } from './dependencies.ts'
import { garbageCollection } from './jobs/garbage-collection.ts'
import { multipartAbort } from './jobs/multipart-abort.ts'
import { multipartCompletion } from './jobs/multipart-completion.ts'
import { Notifier } from './notifier.ts'
import { Engine, type JobHandlers } from './queues/engine.ts'
import { Supervisor } from './queues/supervisor.ts'
import { createRoutes, createUploadRoutes } from './routes.ts'
import { Control } from './store/control.ts'
import { ItemStore } from './store/items.ts'
import { type JobKind, JobStore } from './store/jobs.ts'
import { UploadStore } from './store/uploads.ts'
import { DEFAULT_TIMINGS, type Timings } from './timings.ts'

export { checkGcWorker, type GcWorkerConfig, readGcWorker } from './config.ts'
export type { GcWorkerDependencies } from './dependencies.ts'

/** Disposing it finishes the items in hand, gives back the leases and closes the control database. */
export interface GcWorker extends AsyncDisposable {
  readonly routes: Route[]
  /** @throws when jobs would not be run: the control database or Redis is away, or nothing has moved for too long. */
  ready(): Promise<void>
}

export interface GcWorkerOverrides {
  readonly timings?: Partial<Timings>
}

/**
 * Opens the worker. With Redis it works from now on; without, it opens the control database and loads what that takes only
 * when there is a job, so an idle all-in-one server stays small.
 */
export async function openGcWorker(
  config: GcWorkerConfig,
  deps: GcWorkerDependencies,
  overrides: GcWorkerOverrides = {},
): Promise<GcWorker> {
  const timings = { ...DEFAULT_TIMINGS, ...overrides.timings }
  const log = (deps.log ?? createLogger()).child({ part: 'gc-worker' })
  const control = new Control(config.control)
  const items = new ItemStore(control)
  const uploads = new UploadStore(control)
  const notifier = new Notifier()
  const clients = createClients(deps)
  const { defaultArtifactRoot } = config
  const collecting: JobHandlers = {
    'garbage-collection': garbageCollection({ items, clients, defaultArtifactRoot, notifier, timings, log }),
  }
  const uploading: JobHandlers = {
    'multipart-completion': multipartCompletion(uploads, clients.artifacts, timings, log),
    'multipart-abort': multipartAbort(uploads, clients.artifacts, timings, log),
  }
  const handlers = { ...(deps.metadata && collecting), ...(deps.uploads !== false && uploading) }
  const jobs = new JobStore(control, Object.keys(handlers) as JobKind[])
  const ringAt = (jobId: string, at: number) => supervisor.ringAt(jobId, at)
  const engine = new Engine({ jobs, handlers, notifier, ringAt, timings, log })
  const supervisor = new Supervisor({ config, control, jobs, uploads: deps.uploads === false ? undefined : uploads, engine, timings, log })
  supervisor.start()
  const context = { jobs, items, uploads, clients, notifier, log, ring: (jobId: string) => supervisor.ring(jobId) }
  return {
    routes: deps.metadata ? createRoutes(context) : createUploadRoutes(context),
    ready: () => supervisor.ready(),
    async [Symbol.asyncDispose]() {
      await supervisor[Symbol.asyncDispose]()
      await control[Symbol.asyncDispose]()
    },
  }
}
