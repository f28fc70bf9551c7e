/** Lets only so many do something at once; the others wait, first come first served. */
export class Turns {
  #left: number
  readonly #waiting = new Set<() => void>()

  constructor(atOnce: number) {
    this.#left = atOnce
  }

  async take<T>(signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
    if (this.#left > 0) this.#left--
    else await this.#turn(signal)
    try {
      return await action()
    } finally {
      const [next] = this.#waiting
      if (next) next()
      else this.#left++
    }
  }

  #turn(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const next = () => {
        leave()
        resolve()
      }
      const aborted = () => {
        leave()
        reject(signal?.reason)
      }
      const leave = () => {
        this.#waiting.delete(next)
        signal?.removeEventListener('abort', aborted)
      }
      signal?.throwIfAborted()
      signal?.addEventListener('abort', aborted, { once: true })
      this.#waiting.add(next)
    })
  }
}
