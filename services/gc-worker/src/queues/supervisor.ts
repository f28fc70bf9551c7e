import type { Logger } from '@millrace/kit/logger'
import type { GcWorkerConfig } from '../config.ts'
import type { Control } from '../store/control.ts'
import type { JobStore } from '../store/jobs.ts'
import type { UploadStore } from '../store/uploads.ts'
import type { Timings } from '../timings.ts'
import type { Engine } from './engine.ts'
import { createInProcessRunner } from './in-process.ts'
import type { Runner } from './runner.ts'
import { Sweeper } from './sweeper.ts'

export interface SupervisorOptions {
  readonly config: GcWorkerConfig
  readonly control: Control
  readonly jobs: JobStore
  /** Absent: abandoned ones are left to others. */
  readonly uploads: UploadStore | undefined
  readonly engine: Engine
  readonly timings: Timings
  readonly log: Logger
}

interface Awake {
  readonly runner: Runner
  readonly sweeper: Sweeper
}

const PEEK_EVERY_MS = 60_000
/** Timers may come a little before their time by the clock. */
const CLOCK_MS = 5

/**
 * Keeps the runner and the sweeper. With Redis both run from the start. Without, the worker sleeps until the first job comes or a look
 * into the control database finds one that an earlier process left, or an abandoned upload.
 */
export class Supervisor implements AsyncDisposable {
  readonly #options: SupervisorOptions
  #awake: Promise<Awake> | undefined
  #peekTimer: NodeJS.Timeout | undefined
  #closed = false
  readonly #rings = new Set<NodeJS.Timeout>()

  constructor(options: SupervisorOptions) {
    this.#options = options
  }

  start(): void {
    if (this.#options.config.redisUrl !== undefined) void this.#wake().catch(() => undefined)
    else this.#peekIn(this.#options.timings.startDelayMs)
  }

  async ring(jobId: string): Promise<void> {
    try {
      await (await this.#wake()).runner.ring(jobId)
    } catch (error) {
      this.#options.log.error('jobs cannot be started', { error })
    }
  }

  /** Earlier than the sweeper would; what this process forgets when it ends, the sweeper finds. */
  ringAt(jobId: string, at: number): void {
    if (this.#closed) return
    const timer = setTimeout(
      () => {
        this.#rings.delete(timer)
        void this.ring(jobId)
      },
      Math.max(0, Math.ceil(at - Date.now())) + CLOCK_MS,
    )
    timer.unref()
    this.#rings.add(timer)
  }

  async ready(): Promise<void> {
    if (!this.#awake) return
    const { control, timings } = this.#options
    const { runner, sweeper } = await this.#awake
    await control.use(db => db.job.findFirst({ select: { id: true } }))
    const silence = Date.now() - sweeper.lastPass
    if (silence > timings.silenceMs) throw new Error(`due jobs have not been looked up for ${Math.round(silence / 1000)} s`)
    await runner.ready()
  }

  #wake(): Promise<Awake> {
    clearTimeout(this.#peekTimer)
    this.#awake ??= this.#open().catch(error => {
      this.#awake = undefined
      this.#options.log.error('the job runner cannot be opened', { error })
      throw error
    })
    return this.#awake
  }

  async #open(): Promise<Awake> {
    if (this.#closed) throw new Error('the gc-worker is closed')
    const { config, engine, jobs, uploads, timings, log } = this.#options
    const { redisUrl: url, redisPrefix: prefix, concurrency, uploadExpiryMs } = config
    const runner =
      url === undefined
        ? createInProcessRunner(engine, concurrency)
        : await (await import('./redis.ts')).createRedisRunner({ url, prefix, concurrency, engine, timings, log })
    const sweeper = new Sweeper({ jobs, uploads, engine, runner, concurrency, uploadExpiryMs, timings, log })
    sweeper.start()
    return { runner, sweeper }
  }

  #peekIn(ms: number): void {
    this.#peekTimer = setTimeout(() => void this.#peek(), ms)
    this.#peekTimer.unref()
  }

  async #peek(): Promise<void> {
    const { config, control, log } = this.#options
    try {
      const { hasWork } = await import('../../../../prisma/control/peek.ts')
      // What waking costs is paid already where the database is open.
      const isNeeded = () => hasWork(config.control, Date.now() - config.uploadExpiryMs)
      if (!this.#awake && !this.#closed && (control.opened || (await isNeeded()))) await this.#wake()
    } catch (error) {
      log.debug('no look into the control database', { error })
    }
    if (!this.#awake && !this.#closed) this.#peekIn(PEEK_EVERY_MS)
  }

  /** The order matters: nothing new is started, running jobs end their items, then the doorbell closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    clearTimeout(this.#peekTimer)
    for (const timer of this.#rings) clearTimeout(timer)
    const awake = await this.#awake?.catch(() => undefined)
    await awake?.sweeper[Symbol.asyncDispose]()
    await this.#options.engine[Symbol.asyncDispose]()
    await awake?.runner[Symbol.asyncDispose]()
  }
}
