import { LoanPool } from '../loan-pool.ts'
import { MadeFolders } from '../made-folders.ts'
import { LostSession, tooManyCalls, unreachable } from './errors.ts'
import type { Session } from './session.ts'

/** Calls that a connection has before another one is opened beside it; they share it without waiting much for each other. */
const CALLS_BEFORE_OPENING = 4

/** Calls, each with an open file at most, that share a connection. OpenSSH's server has 1,024 files for one. */
const CALLS_PER_SESSION_MAX = 64

const IDLE_MS = 60_000

/** A server that refused the credentials, or isn't who it should be, isn't asked again for so long: it may lock the account. */
const REFUSED_PAUSE_MS = 2_000

const ATTEMPTS_MAX = 3

/** The right to one call at a time on a connection. */
interface Seat {
  session: Session
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

/**
 * Connections of one user to one host: opened as they are needed, closed when they are idle, left out when they are lost. Calls share
 * them: what is lent to one caller at a time is a seat on a connection, and seats move so that each connection has as many of them.
 */
export class SessionPool implements AsyncDisposable {
  readonly madeFolders = new MadeFolders()
  readonly #options: PoolOptions
  readonly #seats: LoanPool<Seat>
  /** Open connections and how many seats they have. */
  readonly #sessions = new Map<Session, number>()
  readonly #opening = new Set<Promise<void>>()
  /** Seats that are there or on their way. */
  #seatsWanted = 0
  /** Calls that may still ask for a connection. */
  #users = 0
  #failure: unknown
  #refusedUntilMs = 0
  #isClosed = false

  constructor(options: PoolOptions) {
    this.#options = options
    const { sessionsMax, waitMs, idleMs = IDLE_MS } = options
    this.#seats = new LoanPool({
      open: () => this.#openSeat(),
      close: seat => this.#closeSeat(seat),
      isAlive: async ({ session }) => !session.isLost,
      max: sessionsMax * CALLS_PER_SESSION_MAX,
      waitMs,
      idleMs,
      isCrowded: () => this.#sessions.size > 0,
      busy: tooManyCalls,
      closed: unreachable,
    })
  }

  /** Connections that are open or being opened. */
  get size(): number {
    return this.#sessions.size + this.#opening.size
  }

  /** @throws TEMPORARILY_UNAVAILABLE when no connection has room within the longest wait; what kept the first one from being opened. */
  async acquire(signal?: AbortSignal): Promise<Lease> {
    const { resource: seat, release } = await this.#seats.acquire(signal)
    const other = this.#leastUsed()
    if (other && this.#seatsOf(seat.session) > this.#seatsOf(other) + 1) {
      this.#addSeats(seat.session, -1)
      this.#addSeats(other, 1)
      seat.session = other
    }
    const { session } = seat
    return { session, release: () => release({ isBroken: session.isLost }) }
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
    this.#isClosed = true
    this.#seats[Symbol.dispose]()
    for (const session of this.#sessions.keys()) session.close()
  }

  #leastUsed(): Session | undefined {
    let found: Session | undefined
    for (const [session, seats] of this.#sessions) if (!found || seats < this.#seatsOf(found)) found = session
    return found
  }

  #seatsOf(session: Session): number {
    return this.#sessions.get(session) ?? 0
  }

  #addSeats(session: Session, count: number): void {
    if (this.#sessions.has(session)) this.#sessions.set(session, this.#seatsOf(session) + count)
  }

  async #openSeat(): Promise<Seat> {
    this.#seatsWanted++
    try {
      if (this.size < Math.min(this.#options.sessionsMax, Math.ceil(this.#seatsWanted / CALLS_BEFORE_OPENING))) this.#openSession()
      for (;;) {
        const session = this.#leastUsed()
        if (session && this.#seatsOf(session) < CALLS_PER_SESSION_MAX) {
          this.#addSeats(session, 1)
          return { session }
        }
        if (this.#opening.size === 0) throw this.#failure ?? unreachable()
        await Promise.race(this.#opening)
      }
    } catch (error) {
      this.#seatsWanted--
      throw error
    }
  }

  #closeSeat({ session }: Seat): void {
    this.#seatsWanted--
    this.#addSeats(session, -1)
    // It was idle for long. A connection that found no seat when it was open is so as well.
    if (!session.isLost) for (const [other, seats] of [...this.#sessions]) if (seats === 0) other.close()
  }

  #openSession(): void {
    if (this.#sessions.size === 0 && performance.now() < this.#refusedUntilMs) return
    const opening = this.#options
      .open()
      .then(
        session => this.#add(session),
        error => this.#failed(error),
      )
      .finally(() => {
        this.#opening.delete(opening)
        this.#endIfUnused()
      })
    this.#opening.add(opening)
  }

  #add(session: Session): void {
    if (this.#isClosed) {
      session.close()
      return
    }
    this.#failure = undefined
    this.#sessions.set(session, 0)
    session.onLost = () => {
      this.#sessions.delete(session)
      this.#endIfUnused()
    }
  }

  #failed(error: unknown): void {
    this.#failure = error
    const { errorCode } = error as { errorCode?: unknown }
    if (errorCode === 'UNAUTHENTICATED' || errorCode === 'PERMISSION_DENIED') this.#refusedUntilMs = performance.now() + REFUSED_PAUSE_MS
  }

  #endIfUnused(): void {
    if (this.size > 0 || this.#users > 0) return
    const pauseMs = this.#refusedUntilMs - performance.now()
    if (pauseMs > 0) setTimeout(() => this.#endIfUnused(), pauseMs + 1).unref()
    else this.#options.onUnused?.()
  }
}
