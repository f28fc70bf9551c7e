/** Runs requests at once up to a limit; the first one that fails stops it. */
export class Pipeline {
  readonly #atOnceMax: number
  readonly #inFlight = new Set<Promise<void>>()
  #failure: { error: unknown } | undefined

  constructor(atOnceMax: number) {
    this.#atOnceMax = atOnceMax
  }

  /** Resolves when there is room for the next one. @throws what an earlier one failed with. */
  async add(request: Promise<unknown>): Promise<void> {
    const running = request.then(
      () => undefined,
      (error: unknown) => {
        this.#failure ??= { error }
      },
    )
    this.#inFlight.add(running)
    running.then(() => this.#inFlight.delete(running))
    if (this.#inFlight.size >= this.#atOnceMax) await Promise.race(this.#inFlight)
    if (this.#failure) throw this.#failure.error
  }

  /** Resolves when all have ended. @throws what the first one failed with. */
  async end(): Promise<void> {
    await Promise.all(this.#inFlight)
    if (this.#failure) throw this.#failure.error
  }
}
