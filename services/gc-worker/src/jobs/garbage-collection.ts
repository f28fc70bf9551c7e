import { cancelled, type MlflowError, toMlflowError } from '@millrace/kit/errors'
import type { Logger } from '@millrace/kit/logger'
import { type Clients, jobCall } from '../dependencies.ts'
import type { Notifier } from '../notifier.ts'
import type { Execution, JobHandler, Outcome } from '../queues/engine.ts'
import type { Item, ItemChange, ItemKind, ItemStore } from '../store/items.ts'
import { backoffMs, type Timings } from '../timings.ts'
import { isPassing } from './passing.ts'
import { type RemovalContext, removeItem } from './removal.ts'

export interface GarbageCollectionOptions {
  readonly items: ItemStore
  readonly clients: Clients
  readonly defaultArtifactRoot: string | undefined
  readonly notifier: Notifier
  readonly timings: Timings
  readonly log: Logger
}

/** Experiments come after what their rows take along. */
const STAGES: readonly ItemKind[] = ['RUN', 'LOGGED_MODEL', 'EXPERIMENT', 'JOB']
const PAGE_ITEMS = 100
const ITEMS_AT_ONCE = 4
const ITEM_ATTEMPTS_MAX = 6

/**
 * Removes the items of a job that have not ended. What each came to is written as it ends; a failure never stops the others. What failed
 * for a passing reason stays open, and the job is due again after a pause.
 */
export function garbageCollection(options: GarbageCollectionOptions): JobHandler {
  return async execution => new Collection(options, execution).run()
}

class Collection {
  readonly #options: GarbageCollectionOptions
  readonly #execution: Execution
  readonly #context: RemovalContext
  #order = 0
  #writing: Promise<unknown> = Promise.resolve()

  constructor(options: GarbageCollectionOptions, execution: Execution) {
    const { items, clients, defaultArtifactRoot } = options
    const { job } = execution
    this.#options = options
    this.#execution = execution
    this.#context = {
      clients: { ...clients, call: jobCall(job.id) },
      defaultArtifactRoot,
      deletedBefore: job.deletedBefore,
      artifactsRemoved: item => this.#write(item, { state: 'ARTIFACTS_REMOVED' }),
      hasOpen: experimentId => items.hasOpen(job.id, experimentId),
    }
  }

  async run(): Promise<Outcome> {
    const { items, timings } = this.#options
    const { job, signal } = this.#execution
    this.#order = await items.lastEnded(job.id)
    for (const kind of STAGES) await this.#stage(kind)
    if (signal.aborted) return { againAt: Date.now() }
    if (await items.hasOpen(job.id)) return { againAt: Date.now() + backoffMs(timings.retryMs, job.attempts) }
    const counts = (await items.counts([job.id])).get(job.id)
    return { ended: counts && counts.failed > 0 ? 'FAILED' : 'SUCCEEDED' }
  }

  async #stage(kind: ItemKind): Promise<void> {
    const { signal, job } = this.#execution
    let after = -1
    for (;;) {
      const page = await this.#options.items.open(job.id, kind, after, PAGE_ITEMS)
      const last = page.at(-1)
      if (!last || signal.aborted) return
      const queue = page.values()
      const worker = async () => {
        for (const item of queue) {
          if (signal.aborted) return
          await this.#remove(item)
        }
      }
      const results = await Promise.allSettled(Array.from({ length: ITEMS_AT_ONCE }, worker))
      for (const result of results) if (result.status === 'rejected') throw result.reason
      after = last.position
    }
  }

  async #remove(item: Item): Promise<void> {
    try {
      if ((await removeItem(this.#context, item)) === 'done') await this.#end(item, 'DONE', '')
    } catch (reason) {
      if (this.#execution.signal.aborted) return
      const error = toMlflowError(reason)
      this.#options.log.warn('item could not be removed', { jobId: item.jobId, kind: item.kind, id: item.subjectId, error: reason })
      await this.#fail(item, error)
    }
  }

  async #fail(item: Item, error: MlflowError): Promise<void> {
    const attempts = item.attempts + 1
    if (isPassing(error) && attempts < ITEM_ATTEMPTS_MAX) await this.#write(item, { attempts, error: error.rawMessage })
    else await this.#end(item, 'FAILED', error.rawMessage)
  }

  /** Ends are written one after the other: somebody who watches reads on from the last order seen and must not miss a lower one. */
  #end(item: Item, state: 'DONE' | 'FAILED', error: string): Promise<void> {
    const write = this.#writing.then(async () => {
      await this.#write(item, { state, error, endedOrder: this.#order + 1 })
      this.#order++
      this.#options.notifier.changed(item.jobId)
    })
    this.#writing = write.catch(() => undefined)
    return write
  }

  async #write(item: Item, change: ItemChange): Promise<void> {
    const written = await this.#options.items.change(item, this.#execution.owner, change)
    if (!written) throw cancelled('the lease on the job is lost')
  }
}
