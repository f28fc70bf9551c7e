import { setImmediate as turn } from 'node:timers/promises'
import { type Caller, throwIfEnded } from '@millrace/kit/call-context'

interface Waiting<T> {
  readonly callers: SharedCaller
  readonly result: Promise<T>
}

/**
 * Equal reads that are asked for while one of them is under way share the next: whoever asks sees all that was committed before, and many
 * who look at the same page cost the database one read at a time.
 */
export class SharedReads<T> {
  /** Reads that have not begun. */
  readonly #waiting = new Map<string, Waiting<T>>()
  /** Settles with the read that is under way; never rejects. */
  readonly #ends = new Map<string, Promise<void>>()

  /**
   * @param key what is read: equal keys, equal reads.
   * @param begin is given who waits for the read: all that share it.
   */
  read(key: string, begin: (callers: Caller) => Promise<T>, caller?: Caller): Promise<T> {
    const known = this.#waiting.get(key)
    if (known) {
      known.callers.add(caller)
      return known.result
    }
    const callers = new SharedCaller(caller)
    const result = this.#next(key, begin, callers)
    this.#waiting.set(key, { callers, result })
    return result
  }

  async #next(key: string, begin: (callers: Caller) => Promise<T>, callers: Caller): Promise<T> {
    await this.#ends.get(key)
    // Requests that have arrived already come first: clients that were answered together ask again together.
    await turn()
    this.#waiting.delete(key)
    throwIfEnded(callers)
    const result = begin(callers)
    const ended = () => {
      if (this.#ends.get(key) === end) this.#ends.delete(key)
    }
    const end = result.then(ended, ended)
    this.#ends.set(key, end)
    return result
  }
}

/** All who wait for one result. They have ended when the last of them has; who has no context waits to the end. */
class SharedCaller implements Caller {
  readonly #callers: (Caller | undefined)[]
  #signal: AbortSignal | undefined

  constructor(caller: Caller | undefined) {
    this.#callers = [caller]
  }

  add(caller: Caller | undefined): void {
    this.#callers.push(caller)
  }

  get hasEnded(): boolean {
    return this.#callers.every(one => one?.hasEnded)
  }

  /** Nobody is added once it has been asked for. */
  get signal(): AbortSignal {
    this.#signal ??= this.#follow()
    return this.#signal
  }

  #follow(): AbortSignal {
    const [only, ...others] = this.#callers
    if (only && others.length === 0) return only.signal
    const controller = new AbortController()
    for (const caller of this.#callers) {
      const ended = () => {
        if (this.hasEnded) controller.abort(caller?.signal.reason)
      }
      caller?.signal.addEventListener('abort', ended, { once: true })
      if (caller?.hasEnded) ended()
    }
    return controller.signal
  }
}
