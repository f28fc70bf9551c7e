interface Flight<T> {
  /** The read that follows, for everybody who asked after this one had begun. */
  next?: PromiseWithResolvers<T>
}

/**
 * Equal reads that are asked for while one of them is under way share the next: whoever asks sees all that was committed before, and many
 * who look at the same page cost the database one read at a time.
 */
export class SharedReads<T> {
  readonly #flights = new Map<string, Flight<T>>()

  /** @param key what is read: equal keys, equal reads. */
  read(key: string, begin: () => Promise<T>): Promise<T> {
    const flight = this.#flights.get(key)
    if (!flight) return this.#begin(key, begin)
    flight.next ??= Promise.withResolvers<T>()
    return flight.next.promise
  }

  #begin(key: string, begin: () => Promise<T>): Promise<T> {
    const flight: Flight<T> = {}
    this.#flights.set(key, flight)
    const ended = () => {
      this.#flights.delete(key)
      if (flight.next) this.#begin(key, begin).then(flight.next.resolve, flight.next.reject)
    }
    const result = begin()
    result.then(ended, ended)
    return result
  }
}
