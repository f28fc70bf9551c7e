import { randomUUID } from 'node:crypto'
import type { Logger } from '@millrace/kit/logger'
import type { JobStore } from '../store/jobs.ts'
import type { UploadStore } from '../store/uploads.ts'
import type { Timings } from '../timings.ts'
import type { Engine } from './engine.ts'
import type { Runner } from './runner.ts'

export interface SweeperOptions {
  readonly jobs: JobStore
  /** Absent: abandoned ones are left to others. */
  readonly uploads: UploadStore | undefined
  readonly engine: Engine
  readonly runner: Runner
  readonly concurrency: number
  readonly uploadExpiryMs: number
  readonly timings: Timings
  readonly log: Logger
}

const DUE_JOBS_MAX = 100
const EXPIRED_UPLOADS_MAX = 100
const KEEP_MS = 30 * 24 * 3_600_000
const FORGET_EVERY_MS = 3_600_000

/**
 * Looks in the control database for jobs that are due: new ones whose ring got lost, ones to be tried again, ones whose worker died.
 * It rings for each; one that is still due after `doorbellPatienceMs` it runs itself, so a doorbell that looks healthy and isn't
 * holds up nothing. Abandoned uploads get jobs that abort them. Once an hour it forgets what ended a month ago.
 */
export class Sweeper implements AsyncDisposable {
  readonly #options: SweeperOptions
  readonly #firstSeen = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #pass: Promise<void> = Promise.resolve()
  #closed = false
  #lastForgotten = Date.now()
  #lastExpired = 0
  /** When a pass last succeeded, milliseconds since the epoch. */
  lastPass = Date.now()

  constructor(options: SweeperOptions) {
    this.#options = options
  }

  start(): void {
    if (this.#timer || this.#closed) return
    this.lastPass = Date.now()
    const again = () => {
      this.#pass = this.sweep()
        .catch(error => this.#options.log.warn('due jobs could not be looked up', { error }))
        .finally(() => {
          if (this.#closed) return
          this.#timer = setTimeout(again, this.#options.timings.sweepMs)
          this.#timer.unref()
        })
    }
    this.#timer = setTimeout(again, 0)
  }

  async sweep(): Promise<void> {
    const { jobs, engine, runner, timings } = this.#options
    const now = Date.now()
    if (now - this.#lastExpired > timings.expirySweepMs) await this.#expire(now)
    const due = await jobs.due(DUE_JOBS_MAX)
    for (const id of this.#firstSeen.keys()) if (!due.includes(id)) this.#firstSeen.delete(id)
    for (const id of due) {
      const since = this.#firstSeen.get(id) ?? now
      this.#firstSeen.set(id, since)
      const rung = await runner.ring(id)
      const late = !rung || now - since > timings.doorbellPatienceMs
      if (late && engine.runningCount < this.#options.concurrency) void engine.run(id)
    }
    this.lastPass = Date.now()
    if (now - this.#lastForgotten > FORGET_EVERY_MS) await this.#forget(now)
  }

  async #expire(now: number): Promise<void> {
    const { uploads, uploadExpiryMs } = this.#options
    if (!uploads) return
    const ids = await uploads.abandoned(now - uploadExpiryMs, EXPIRED_UPLOADS_MAX)
    for (const id of ids) await uploads.startAbort(id, randomUUID())
    if (ids.length < EXPIRED_UPLOADS_MAX) this.#lastExpired = now
  }

  async #forget(now: number): Promise<void> {
    this.#lastForgotten = now
    await this.#options.uploads?.forget(now - KEEP_MS)
    await this.#options.jobs.forget(now - KEEP_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#pass
  }
}
