import { setImmediate as turn } from 'node:timers/promises'
import { type Caller, endOf } from '@millrace/kit/call-context'
import { temporarilyUnavailable } from '@millrace/kit/errors'
import { isUnavailable } from './db/errors.ts'

/** One caller's read or write, settled when it is answered, committed or refused. */
export interface Entry<Op, Result> {
  readonly op: Op
  /** Who waits; when that has ended before its group is taken, nothing is done. */
  readonly caller: Caller | undefined
  resolve(result: Result): void
  reject(reason: unknown): void
}

export interface GroupOptions<Op, Result> {
  /** Does what one group asks for and settles every entry; throws when nothing was done and none is settled. */
  send(group: readonly Entry<Op, Result>[]): Promise<void>
  /** Rows that an entry reads or writes, about. */
  weigh(op: Op): number
  /** Of a group; a heavier entry goes alone. */
  weightMax: number
  /** Begins a group: what it returns is asked once for each entry in turn whether it has to wait for the next group. */
  keepApart?(): (op: Op) => boolean
}

/** A metric is 10 microseconds of a SQLite writer: no group holds the thread for much more than 20 ms. */
export const WRITTEN_ROWS_MAX = 2000

/**
 * How long a group waits for more: until as many callers are there as were when the last group was answered, who send their next request
 * within this time, or until that many turns of the event loop, a few microseconds each, have brought nobody. Of 8 connections 8 meet in
 * a group, without the wait 4; a lone one doesn't wait.
 */
const GATHER_MS_MAX = 1
const QUIET_TURNS_MAX = 60

/**
 * Group commit: requests that arrive while a transaction is being written share the next one, so that one fsync serves them all: alone a
 * durable commit costs 200 microseconds, among 64 it costs 3. Reads that go to a server share a round trip. A group that fails is sent
 * again entry by entry, so that the one that made it fail fails alone.
 */
export class GroupedCalls<Op, Result> implements AsyncDisposable {
  readonly #options: GroupOptions<Op, Result>
  #waiting: Entry<Op, Result>[] = []
  /** What the group that is under way weighs. */
  #sent = 0
  /** When that group was sent. */
  #sentAt = 0
  /** What those weigh that wait. */
  #pending = 0
  /** How many callers the next group may expect. */
  #callers = 0
  #draining: Promise<void> | undefined
  #closed = false

  constructor(options: GroupOptions<Op, Result>) {
    this.#options = options
  }

  /** What the entries weigh that are not settled. */
  get load(): number {
    return this.#pending + this.#sent
  }

  /** For how long the group that is under way has been, in milliseconds. */
  get waited(): number {
    return this.#sent > 0 ? performance.now() - this.#sentAt : 0
  }

  submit(op: Op, caller?: Caller): Promise<Result> {
    if (this.#closed) return Promise.reject(temporarilyUnavailable('The server is shutting down'))
    this.#pending += this.#options.weigh(op)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ op, caller, resolve, reject })
      this.#draining ??= this.#drain()
    })
  }

  async #drain(): Promise<void> {
    do {
      await this.#gather()
      this.#dropEnded()
      const group = this.#take()
      if (group.length > 0) await this.#send(group)
      this.#callers = group.length + this.#waiting.length
      this.#sent = 0
    } while (this.#waiting.length > 0)
    this.#draining = undefined
  }

  async #send(group: readonly Entry<Op, Result>[]): Promise<void> {
    try {
      await this.#options.send(group)
    } catch (reason) {
      const alone = group.length > 1 && !isUnavailable(reason)
      for (const entry of group) {
        if (alone) await this.#send([entry])
        else entry.reject(reason)
      }
    }
  }

  async #gather(): Promise<void> {
    const end = performance.now() + GATHER_MS_MAX
    let seen = 0
    let quiet = 0
    do {
      await turn()
      quiet = this.#waiting.length > seen ? 0 : quiet + 1
      seen = this.#waiting.length
    } while (seen < this.#callers && quiet < QUIET_TURNS_MAX && performance.now() < end)
  }

  /** What has been taken is done, whoever has gone by then. */
  #dropEnded(): void {
    if (!this.#waiting.some(hasEnded)) return
    for (const { op, caller, reject } of this.#waiting.filter(hasEnded)) {
      this.#pending -= this.#options.weigh(op)
      reject(endOf(caller))
    }
    this.#waiting = this.#waiting.filter(entry => !hasEnded(entry))
  }

  #take(): Entry<Op, Result>[] {
    const { weigh, weightMax, keepApart } = this.#options
    const waits = keepApart?.()
    const group: Entry<Op, Result>[] = []
    const later: Entry<Op, Result>[] = []
    let weight = 0
    for (const entry of this.#waiting) {
      const size = weigh(entry.op)
      if ((group.length > 0 && weight + size > weightMax) || waits?.(entry.op)) later.push(entry)
      else {
        group.push(entry)
        weight += size
      }
    }
    this.#waiting = later
    this.#sent = weight
    this.#sentAt = performance.now()
    this.#pending -= weight
    return group
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    while (this.#draining) await this.#draining
  }
}

const hasEnded = <Op, Result>(entry: Entry<Op, Result>): entry is Entry<Op, Result> & { caller: Caller } => entry.caller?.hasEnded === true
