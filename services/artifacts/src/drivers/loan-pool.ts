import { setTimeout as sleep } from 'node:timers/promises'
import { createPool, type Pool } from 'generic-pool'

/** Between attempts to open what the store has no room for. */
const CROWDED_PAUSE_MS = 400

const EVICTION_INTERVAL_MS = 5_000

/** How long a failure counts as the answer to a caller who came after it. */
const FAILURE_MS = 100

export interface LoanPoolOptions<T> {
  open: () => Promise<T>
  close: (resource: T) => void
  /** Asked before a resource is lent. Never fails. */
  isAlive: (resource: T) => Promise<boolean>
  max: number
  /** Longest wait for others to return theirs. */
  waitMs: number
  idleMs: number
  /** Whether `open` failed for want of room, so that it is tried again while callers wait for what others return. */
  isCrowded: (error: unknown) => boolean
  busy: () => Error
  closed: () => Error
}

export interface Loan<T> {
  readonly resource: T
  /** Gives it back; a broken one is closed. May be called again. */
  release(options?: { isBroken: boolean }): void
}

type Opened<T> = { resource: T } | { error: unknown; atMs: number }

/**
 * Lends each resource to one caller at a time, the one that was returned last first; closes those that are idle or broken. It is
 * generic-pool without its traps: there a failing `create` fails nobody and is called again at once, nobody can stop waiting, and the
 * timer of an empty pool runs on.
 */
export class LoanPool<T> implements Disposable {
  readonly #options: LoanPoolOptions<T>
  readonly #open = new Set<T>()
  readonly #waiting = new Set<(error: Error) => void>()
  #opening = 0
  #isClosed = false
  #pool: Pool<Opened<T>> | undefined

  constructor(options: LoanPoolOptions<T>) {
    this.#options = options
  }

  get isUnused(): boolean {
    return this.#pool === undefined
  }

  /** @throws what `open` fails with; `busy` after the longest wait; the signal's reason. */
  async acquire(signal?: AbortSignal): Promise<Loan<T>> {
    if (this.#isClosed) throw this.#options.closed()
    signal?.throwIfAborted()
    this.#pool ??= this.#create()
    const pool = this.#pool
    const opened = await this.#wait(pool, signal)
    if ('error' in opened) {
      void pool.destroy(opened)
      throw opened.error
    }
    let isHeld = true
    const release = ({ isBroken } = { isBroken: false }) => {
      if (!isHeld) return
      isHeld = false
      void (isBroken || this.#isClosed ? pool.destroy(opened) : pool.release(opened))
    }
    return { resource: opened.resource, release }
  }

  /** Closes everything, also what is lent. */
  [Symbol.dispose](): void {
    this.#isClosed = true
    for (const refuse of this.#waiting) refuse(this.#options.closed())
    for (const resource of this.#open) this.#options.close(resource)
    this.#open.clear()
    const pool = this.#pool
    void pool?.drain().then(() => pool.clear())
  }

  #create(): Pool<Opened<T>> {
    const { close, isAlive, max, idleMs } = this.#options
    const pool: Pool<Opened<T>> = createPool<Opened<T>>(
      {
        create: () => this.#tryToOpen(pool),
        destroy: async opened => {
          if ('resource' in opened && this.#open.delete(opened.resource)) close(opened.resource)
          // Whoever waits has the next one opened first.
          await Promise.resolve()
          if (pool.size > 0 || pool.pending > 0 || this.#pool !== pool) return
          this.#pool = undefined
          await pool.drain()
        },
        validate: async opened => ('resource' in opened ? isAlive(opened.resource) : performance.now() - opened.atMs < FAILURE_MS),
      },
      {
        max,
        fifo: false,
        testOnBorrow: true,
        idleTimeoutMillis: idleMs,
        evictionRunIntervalMillis: Math.min(EVICTION_INTERVAL_MS, idleMs),
        numTestsPerEvictionRun: max,
      },
    )
    return pool
  }

  async #tryToOpen(pool: Pool<Opened<T>>): Promise<Opened<T>> {
    const { open, close, closed, isCrowded, waitMs } = this.#options
    const untilMs = performance.now() + waitMs
    this.#opening++
    try {
      for (;;) {
        try {
          const resource = await open()
          if (!this.#isClosed) {
            this.#open.add(resource)
            return { resource }
          }
          close(resource)
          throw closed()
        } catch (error) {
          const failure = { error, atMs: performance.now() }
          if (this.#isClosed || !isCrowded(error) || failure.atMs > untilMs) return failure
          await sleep(CROWDED_PAUSE_MS * (1 + Math.random()), undefined, { ref: false })
          if (pool.pending === 0) return failure
        }
      }
    } finally {
      this.#opening--
    }
  }

  #wait(pool: Pool<Opened<T>>, signal?: AbortSignal): Promise<Opened<T>> {
    return new Promise((resolve, reject) => {
      let isOver = false
      const end = () => {
        isOver = true
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        this.#waiting.delete(refuse)
      }
      const refuse = (error: unknown) => {
        end()
        reject(error)
      }
      const abort = () => refuse(signal?.reason)
      const late = () => {
        // What is being opened for a caller has a limit of its own, and says what is wrong.
        if (this.#opening >= pool.pending) timer.refresh()
        else refuse(this.#options.busy())
      }
      const timer = setTimeout(late, this.#options.waitMs)
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.add(refuse)
      pool.acquire().then(opened => {
        if (isOver) return pool.release(opened)
        end()
        resolve(opened)
      }, refuse)
    })
  }
}
