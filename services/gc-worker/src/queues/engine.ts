import { randomUUID } from 'node:crypto'
import type { Logger } from '@millrace/kit/logger'
import type { Notifier } from '../notifier.ts'
import type { Job, JobKind, JobStore } from '../store/jobs.ts'
import { backoffMs, type Timings } from '../timings.ts'

/** One start of a job, under a lease. */
export interface Execution {
  readonly job: Job
  /** Name of the lease: writes carry it, so that a worker that lost it changes nothing. */
  readonly owner: string
  /** Aborts when the process stops or the lease is lost: finish what is in hand and return. */
  readonly signal: AbortSignal
}

export type Outcome = { readonly ended: 'SUCCEEDED' | 'FAILED' } | { readonly againAt: number }
export type JobHandler = (execution: Execution) => Promise<Outcome>
export type JobHandlers = Readonly<Partial<Record<JobKind, JobHandler>>>

export interface EngineOptions {
  readonly jobs: JobStore
  /** For every kind that `jobs` offers. */
  readonly handlers: JobHandlers
  readonly notifier: Notifier
  /** Called when a job was given back, to be run again at a time in milliseconds since the epoch. */
  readonly ringAt: (jobId: string, at: number) => void
  readonly timings: Timings
  readonly log: Logger
}

/** Removing a large folder can take longer than an operator waits for a process to stop. */
const STOP_MS_MAX = 20_000

/**
 * Runs jobs: at most one worker at a time runs a job, by a lease in the control database. A worker that dies lets its lease
 * run out, and the next one goes on with the items that are left.
 */
export class Engine implements AsyncDisposable {
  readonly #options: EngineOptions
  readonly #stop = new AbortController()
  readonly #running = new Map<string, Promise<void>>()

  constructor(options: EngineOptions) {
    this.#options = options
  }

  get stopping(): boolean {
    return this.#stop.signal.aborted
  }

  isRunning(jobId: string): boolean {
    return this.#running.has(jobId)
  }

  get runningCount(): number {
    return this.#running.size
  }

  /** Runs the job if it is due and free. Never rejects: what goes wrong is logged, and the sweeper tries again. */
  run(jobId: string): Promise<void> {
    const already = this.#running.get(jobId)
    if (already || this.stopping) return already ?? Promise.resolve()
    const running = this.#run(jobId)
      .catch(error => this.#options.log.warn('job could not be run', { jobId, error }))
      .finally(() => {
        this.#running.delete(jobId)
        this.#options.notifier.changed(jobId)
      })
    this.#running.set(jobId, running)
    return running
  }

  async #run(jobId: string): Promise<void> {
    const { jobs, handlers, ringAt, timings, log } = this.#options
    const owner = randomUUID()
    const job = await jobs.claim(jobId, owner, timings.leaseMs)
    if (!job) return
    const lost = new AbortController()
    let heldUntil = Date.now() + timings.leaseMs
    const renewal = setInterval(async () => {
      const now = Date.now()
      try {
        if (await jobs.renew(jobId, owner, timings.leaseMs)) heldUntil = now + timings.leaseMs
        else lost.abort()
      } catch (error) {
        log.warn('lease could not be renewed', { jobId, error })
        if (Date.now() > heldUntil) lost.abort()
      }
    }, timings.leaseMs / 3)
    let outcome: Outcome
    try {
      const handle = handlers[job.kind]
      if (!handle) throw new Error(`jobs of the kind ${job.kind} are not run here`)
      outcome = await handle({ job, owner, signal: AbortSignal.any([this.#stop.signal, lost.signal]) })
    } catch (error) {
      log.error('job broke off', { jobId, kind: job.kind, error })
      outcome = { againAt: Date.now() + backoffMs(timings.retryMs, job.attempts) }
    } finally {
      clearInterval(renewal)
    }
    await jobs.release(jobId, owner, outcome)
    if ('ended' in outcome) log.info('job ended', { jobId, kind: job.kind, state: outcome.ended })
    else ringAt(jobId, outcome.againAt)
  }

  /** Lets the running jobs finish the items in hand and give back their leases; those that take too long lose them by and by. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    let timer: NodeJS.Timeout | undefined
    const tooLong = new Promise<void>(resolve => {
      timer = setTimeout(resolve, STOP_MS_MAX)
    })
    await Promise.race([Promise.all(this.#running.values()), tooLong])
    clearTimeout(timer)
  }
}
