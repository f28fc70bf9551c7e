import type { Control } from './control.ts'
import { storable, storableError } from './text.ts'

export type ItemKind = 'RUN' | 'LOGGED_MODEL' | 'EXPERIMENT' | 'JOB'
export type ItemState = 'PENDING' | 'ARTIFACTS_REMOVED' | 'DONE' | 'FAILED'

export interface NewItem {
  readonly kind: ItemKind
  readonly subjectId: string
  readonly experimentId: string
  readonly artifactUri: string
}

export interface Item extends NewItem {
  readonly jobId: string
  /** From 0, in the order of removal. */
  readonly position: number
  readonly state: ItemState
  readonly attempts: number
  readonly error: string
  readonly endedOrder: number | null
}

export interface Counts {
  readonly total: number
  readonly done: number
  readonly failed: number
}

/** What the holder of a job's lease writes about an item. */
export type ItemChange =
  | { readonly state: 'ARTIFACTS_REMOVED' }
  | { readonly state: 'DONE' | 'FAILED'; readonly error: string; readonly endedOrder: number }
  | { readonly attempts: number; readonly error: string }

const INSERT_ROWS_MAX = 500
const OPEN_STATES = ['PENDING', 'ARTIFACTS_REMOVED']

export class ItemStore {
  readonly #control: Control

  constructor(control: Control) {
    this.#control = control
  }

  /** Adds items at `position` and after it. */
  async add(jobId: string, position: number, items: readonly NewItem[]): Promise<void> {
    for (let from = 0; from < items.length; from += INSERT_ROWS_MAX) {
      const data = items.slice(from, from + INSERT_ROWS_MAX).map(toRow(jobId, position + from))
      await this.#control.use(db => db.jobItem.createMany({ data }))
    }
  }

  /** Items of the job by position, from after `after`. */
  async list(jobId: string, after: number, limit: number): Promise<Item[]> {
    const where = { jobId, position: { gt: after } }
    return (await this.#control.use(db => db.jobItem.findMany({ where, orderBy: { position: 'asc' }, take: limit }))) as Item[]
  }

  /** Items of one kind that have not ended, by position, from after `after`. */
  async open(jobId: string, kind: ItemKind, after: number, limit: number): Promise<Item[]> {
    const where = { jobId, kind, position: { gt: after }, state: { in: OPEN_STATES } }
    return (await this.#control.use(db => db.jobItem.findMany({ where, orderBy: { position: 'asc' }, take: limit }))) as Item[]
  }

  async hasOpen(jobId: string, experimentId?: string): Promise<boolean> {
    const kinds = experimentId === undefined ? undefined : { not: 'EXPERIMENT' }
    const where = { jobId, experimentId, kind: kinds, state: { in: OPEN_STATES } }
    return (await this.#control.use(db => db.jobItem.findFirst({ where, select: { position: true } }))) !== null
  }

  /** Ended items in the order in which they ended, from after the `after`th. */
  async ended(jobId: string, after: number, limit: number): Promise<Item[]> {
    const where = { jobId, endedOrder: { gt: after } }
    return (await this.#control.use(db => db.jobItem.findMany({ where, orderBy: { endedOrder: 'asc' }, take: limit }))) as Item[]
  }

  async lastEnded(jobId: string): Promise<number> {
    const last = await this.#control.use(db => db.jobItem.aggregate({ where: { jobId }, _max: { endedOrder: true } }))
    return last._max.endedOrder ?? 0
  }

  /** @returns whether it was written: not when `owner` has lost the job's lease. */
  async change(item: Item, owner: string, change: ItemChange): Promise<boolean> {
    const where = { jobId: item.jobId, position: item.position, job: { leaseOwner: owner } }
    const data = 'error' in change ? { ...change, error: storableError(change.error) } : change
    return (await this.#control.use(db => db.jobItem.updateMany({ where, data }))).count === 1
  }

  async counts(jobIds: readonly string[]): Promise<Map<string, Counts>> {
    const groups = await this.#control.use(db =>
      db.jobItem.groupBy({ by: ['jobId', 'state'], where: { jobId: { in: [...jobIds] } }, _count: { _all: true } }),
    )
    const counts = new Map<string, Counts>(jobIds.map(id => [id, { total: 0, done: 0, failed: 0 }]))
    for (const { jobId, state, _count } of groups) {
      const { total, done, failed } = counts.get(jobId) ?? { total: 0, done: 0, failed: 0 }
      const n = _count._all
      counts.set(jobId, { total: total + n, done: done + (state === 'DONE' ? n : 0), failed: failed + (state === 'FAILED' ? n : 0) })
    }
    return counts
  }
}

function toRow(jobId: string, first: number) {
  return (item: NewItem, index: number) => ({
    ...item,
    artifactUri: storable(item.artifactUri),
    jobId,
    position: first + index,
    state: 'PENDING',
  })
}
