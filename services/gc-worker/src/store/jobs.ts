import type { Control } from './control.ts'

export type JobKind = 'garbage-collection' | 'multipart-completion' | 'multipart-abort'
const KINDS: readonly JobKind[] = ['garbage-collection', 'multipart-completion', 'multipart-abort']
export type JobState = 'SELECTING' | 'PENDING' | 'RUNNING' | 'SUCCEEDED' | 'FAILED'

export interface Job {
  readonly id: string
  readonly kind: JobKind
  readonly state: JobState
  readonly dryRun: boolean
  /** Times are milliseconds since the epoch. */
  readonly createdTime: bigint
  readonly endedTime: bigint | null
  readonly deletedBefore: bigint | null
  readonly attempts: number
}

export interface NewJob {
  readonly kind: JobKind
  readonly state: JobState
  readonly dryRun?: boolean
  readonly deletedBefore?: bigint
}

const UNFINISHED = ['PENDING', 'RUNNING']
const FIELDS = {
  id: true,
  kind: true,
  state: true,
  dryRun: true,
  createdTime: true,
  endedTime: true,
  deletedBefore: true,
  attempts: true,
} as const

/** The rows of jobs, and the leases by which at most one worker runs a job at a time. */
export class JobStore {
  readonly #control: Control
  readonly #kinds: readonly JobKind[]

  /** @param kinds jobs of other kinds are due for others: they are neither offered nor leased here. */
  constructor(control: Control, kinds = KINDS) {
    this.#control = control
    this.#kinds = kinds
  }

  async create(id: string, job: NewJob): Promise<void> {
    const now = BigInt(Date.now())
    await this.#control.use(db => db.job.create({ data: { id, ...job, createdTime: now, dueTime: now } }))
  }

  async get(id: string): Promise<Job | undefined> {
    const row = await this.#control.use(db => db.job.findUnique({ where: { id }, select: FIELDS }))
    return row ? (row as Job) : undefined
  }

  /** Newest first, those that are still being selected left out. */
  async list(kind: JobKind, limit: number, after?: { createdTime: bigint; id: string }): Promise<Job[]> {
    const older = after && [{ createdTime: { lt: after.createdTime } }, { createdTime: after.createdTime, id: { lt: after.id } }]
    const rows = await this.#control.use(db =>
      db.job.findMany({
        where: { kind, state: { not: 'SELECTING' }, OR: older },
        orderBy: [{ createdTime: 'desc' }, { id: 'desc' }],
        take: limit,
        select: FIELDS,
      }),
    )
    return rows as Job[]
  }

  /** Ends the selection: the job may run from now, or has ended when `state` says so. */
  async publish(id: string, state: 'PENDING' | 'SUCCEEDED'): Promise<void> {
    const now = BigInt(Date.now())
    const data = { state, dueTime: now, endedTime: state === 'PENDING' ? null : now }
    await this.#control.use(db => db.job.updateMany({ where: { id, state: 'SELECTING' }, data }))
  }

  /** Takes back a job whose selection failed. */
  async discard(id: string): Promise<void> {
    await this.#control.use(db => db.job.deleteMany({ where: { id, state: 'SELECTING' } }))
  }

  /** Ids of jobs that may start now: due, and leased to nobody or to somebody who stopped renewing. */
  async due(limit: number): Promise<string[]> {
    const rows = await this.#control.use(db =>
      db.job.findMany({ where: this.#runnable(), orderBy: { dueTime: 'asc' }, take: limit, select: { id: true } }),
    )
    return rows.map(row => row.id)
  }

  /** Leases the job to `owner`. @returns undefined when it is not due, has ended or is leased to somebody else. */
  async claim(id: string, owner: string, leaseMs: number): Promise<Job | undefined> {
    const leaseUntil = BigInt(Date.now() + leaseMs)
    const data = { state: 'RUNNING', leaseOwner: owner, leaseUntil, attempts: { increment: 1 } }
    const { count } = await this.#control.use(db => db.job.updateMany({ where: { id, ...this.#runnable() }, data }))
    return count === 1 ? this.get(id) : undefined
  }

  /** @returns whether `owner` still has the lease. */
  async renew(id: string, owner: string, leaseMs: number): Promise<boolean> {
    const data = { leaseUntil: BigInt(Date.now() + leaseMs) }
    return (await this.#control.use(db => db.job.updateMany({ where: { id, leaseOwner: owner }, data }))).count === 1
  }

  /** Gives the lease back, with the end of the job or the time to go on. No effect when `owner` doesn't have it any more. */
  async release(id: string, owner: string, outcome: { ended: 'SUCCEEDED' | 'FAILED' } | { againAt: number }): Promise<void> {
    const next =
      'ended' in outcome
        ? { state: outcome.ended, endedTime: BigInt(Date.now()) }
        : { state: 'PENDING', dueTime: BigInt(Math.ceil(outcome.againAt)) }
    const data = { ...next, leaseOwner: null, leaseUntil: null }
    await this.#control.use(db => db.job.updateMany({ where: { id, leaseOwner: owner }, data }))
  }

  /** Forgets jobs that ended, and selections that broke off, before `time`, with their items. */
  async forget(time: number): Promise<void> {
    const before = BigInt(Math.floor(time))
    await this.#control.use(db =>
      db.job.deleteMany({ where: { OR: [{ endedTime: { lt: before } }, { state: 'SELECTING', createdTime: { lt: before } }] } }),
    )
  }

  #runnable() {
    const now = BigInt(Date.now())
    const free = [{ leaseUntil: null }, { leaseUntil: { lt: now } }]
    return { state: { in: UNFINISHED }, kind: { in: [...this.#kinds] }, dueTime: { lte: now }, OR: free }
  }
}
