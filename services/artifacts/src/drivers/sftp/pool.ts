import { MadeFolders } from '../made-folders.ts'
import { LostSession, tooManyCalls, unreachable } from './errors.ts'
import type { Session } from './session.ts'

/** Calls that a connection has before another one is opened beside it; they share it without waiting much for each other. */
const CALLS_BEFORE_OPENING = 4

/** Calls, each with an open file at most, that share a connection. OpenSSH's server has 1,024 files for one. */
const CALLS_PER_SESSION_MAX = 64

const IDLE_MS = 60_000
const SWEEP_INTERVAL_MS = 5_000

/** A server that refused the credentials, or isn't who it should be, isn't asked again for so long: it may lock the account. */
const REFUSED_PAUSE_MS = 2_000

const ATTEMPTS_MAX = 3

interface Slot {
  readonly session: Session
  calls: number
  idleSinceMs: number
}

interface Waiting {
  grant: (lease: Lease) => void
  refuse: (error: unknown) => void
}

export interface Lease {
  readonly session: Session
  /** May be called again. */
  release(): void
}

/** Closes a file, as far as that goes, and gives its connection back. */
export function letGo({ session, release }: Lease, handle: Buffer): Promise<void> {
  return session
    .closeFile(handle)
    .catch(() => undefined)
    .finally(release)
}

export interface PoolOptions {
  open: () => Promise<Session>
  sessionsMax: number
  /** Longest wait for a connection. */
  waitMs: number
  /** Called when nothing is open and nobody is at it any more. */
  onUnused?: () => void
  idleMs?: number
}

/** Connections of one user to one host: opened as they are needed, shared, closed when they are idle, left out when they are lost. */
export class SessionPool implements AsyncDisposable {
  readonly madeFolders = new MadeFolders()
  readonly #options: PoolOptions
  readonly #slots = new Set<Slot>()
  readonly #waiting = new Set<Waiting>()
  readonly #idleMs: number
  #opening = 0
  /** Calls that may still ask for a connection. */
  #users = 0
  #refused: { error: unknown; untilMs: number } | undefined
  #sweeper: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: PoolOptions) {
    this.#options = options
    this.#idleMs = options.idleMs ?? IDLE_MS
  }

  /** Connections that are open or being opened. */
  get size(): number {
    return this.#slots.size + this.#opening
  }

  /** @throws TEMPORARILY_UNAVAILABLE when no connection has room within the longest wait; what kept the first one from being opened. */
  acquire(signal?: AbortSignal): Promise<Lease> {
    if (this.#closed) return Promise.reject(unreachable())
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#refused && this.#slots.size === 0) {
      if (performance.now() < this.#refused.untilMs) return Promise.reject(this.#refused.error)
      this.#refused = undefined
    }
    const slot = this.#leastUsed()
    this.#openFor(1)
    return slot && slot.calls < CALLS_PER_SESSION_MAX ? Promise.resolve(this.#lease(slot)) : this.#wait(signal)
  }

  /** Does `action` with a connection that stays its own until the lease is released; again with another one when that is lost at once. */
  async hold<T>(signal: AbortSignal | undefined, action: (session: Session) => Promise<T>): Promise<{ value: T; lease: Lease }> {
    this.#users++
    try {
      for (let attempt = 1; ; attempt++) {
        const lease = await this.acquire(signal)
        try {
          return { value: await action(lease.session), lease }
        } catch (error) {
          lease.release()
          if (!(error instanceof LostSession && error.worthRepeating) || attempt === ATTEMPTS_MAX) throw error
        }
      }
    } finally {
      this.#users--
      this.#endIfUnused()
    }
  }

  /** Does `action`, which must be safe to repeat, with a connection. */
  async run<T>(signal: AbortSignal | undefined, action: (session: Session) => Promise<T>): Promise<T> {
    const { value, lease } = await this.hold(signal, action)
    lease.release()
    return value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    clearInterval(this.#sweeper)
    for (const { refuse } of this.#waiting) refuse(unreachable())
    for (const { session } of this.#slots) session.close()
  }

  #leastUsed(): Slot | undefined {
    let found: Slot | undefined
    for (const slot of this.#slots) if (!found || slot.calls < found.calls) found = slot
    return found
  }

  #lease(slot: Slot): Lease {
    slot.calls++
    let held = true
    return {
      session: slot.session,
      release: () => {
        if (!held) return
        held = false
        slot.calls--
        slot.idleSinceMs = performance.now()
        this.#serve()
      },
    }
  }

  #wait(signal?: AbortSignal): Promise<Lease> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        this.#waiting.delete(waiting)
      }
      const waiting: Waiting = {
        grant: lease => {
          end()
          resolve(lease)
        },
        refuse: error => {
          end()
          reject(error)
        },
      }
      const abort = () => waiting.refuse(signal?.reason)
      const timer = setTimeout(() => waiting.refuse(tooManyCalls()), this.#options.waitMs)
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.add(waiting)
    })
  }

  #serve(): void {
    for (const waiting of this.#waiting) {
      const slot = this.#leastUsed()
      if (!slot || slot.calls >= CALLS_PER_SESSION_MAX) return
      waiting.grant(this.#lease(slot))
    }
  }

  /** @param more calls beside those that have a connection or wait for one. */
  #openFor(more: number): void {
    let calls = this.#waiting.size + more
    for (const slot of this.#slots) calls += slot.calls
    if (this.size >= Math.min(this.#options.sessionsMax, Math.ceil(calls / CALLS_BEFORE_OPENING))) return
    this.#opening++
    this.#options.open().then(
      session => this.#add(session),
      error => this.#failed(error),
    )
  }

  #add(session: Session): void {
    this.#opening--
    if (this.#closed) {
      session.close()
      return
    }
    const slot = { session, calls: 0, idleSinceMs: performance.now() }
    this.#slots.add(slot)
    session.onLost = () => this.#drop(slot)
    this.#sweeper ??= setInterval(() => this.#sweep(), Math.min(SWEEP_INTERVAL_MS, this.#idleMs)).unref()
    this.#serve()
  }

  #failed(error: unknown): void {
    this.#opening--
    const { errorCode } = error as { errorCode?: unknown }
    if (errorCode === 'UNAUTHENTICATED' || errorCode === 'PERMISSION_DENIED') {
      this.#refused = { error, untilMs: performance.now() + REFUSED_PAUSE_MS }
    }
    if (this.size === 0) for (const { refuse } of this.#waiting) refuse(error)
    this.#endIfUnused()
  }

  /** Those who wait get a connection in the place of a lost one. */
  #drop(slot: Slot): void {
    this.#slots.delete(slot)
    if (!this.#closed) this.#openFor(0)
    this.#endIfUnused()
  }

  #sweep(): void {
    const deadline = performance.now() - this.#idleMs
    for (const { session, calls, idleSinceMs } of [...this.#slots]) if (calls === 0 && idleSinceMs <= deadline) session.close()
  }

  #endIfUnused(): void {
    if (this.size > 0 || this.#users > 0) return
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
    const pauseMs = (this.#refused?.untilMs ?? 0) - performance.now()
    if (pauseMs > 0) setTimeout(() => this.#endIfUnused(), pauseMs + 1).unref()
    else this.#options.onUnused?.()
  }
}
