import { setImmediate as turn } from 'node:timers/promises'

/**
 * Equal reads that are asked for while one of them is under way share the next: whoever asks sees all that was committed before, and many
 * who look at the same page cost the database one read at a time.
 */
export class SharedReads<T> {
  /** Reads that have not begun. */
  readonly #waiting = new Map<string, Promise<T>>()
  /** Settles with the read that is under way; never rejects. */
  readonly #ends = new Map<string, Promise<void>>()

  /** @param key what is read: equal keys, equal reads. */
  read(key: string, begin: () => Promise<T>): Promise<T> {
    const known = this.#waiting.get(key)
    if (known) return known
    const result = this.#next(key, begin)
    this.#waiting.set(key, result)
    return result
  }

  async #next(key: string, begin: () => Promise<T>): Promise<T> {
    await this.#ends.get(key)
    // Requests that have arrived already come first: clients that were answered together ask again together.
    await turn()
    this.#waiting.delete(key)
    const result = begin()
    const ended = () => {
      if (this.#ends.get(key) === end) this.#ends.delete(key)
    }
    const end = result.then(ended, ended)
    this.#ends.set(key, end)
    return result
  }
}
