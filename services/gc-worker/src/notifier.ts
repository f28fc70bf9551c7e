/** Wakes those who wait for a job in this process. A wake-up is a hint: the control database says what happened. */
export class Notifier {
  readonly #waiting = new Map<string, Set<() => void>>()

  changed(jobId: string): void {
    const waiting = this.#waiting.get(jobId)
    this.#waiting.delete(jobId)
    for (const wake of waiting ?? []) wake()
  }

  /** Resolves at the next change, after `ms`, or when the signal aborts; never rejects. */
  wait(jobId: string, ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise(resolve => {
      const waiting = this.#waiting.get(jobId) ?? new Set()
      this.#waiting.set(jobId, waiting)
      const wake = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', wake)
        waiting.delete(wake)
        if (waiting.size === 0 && this.#waiting.get(jobId) === waiting) this.#waiting.delete(jobId)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      waiting.add(wake)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }
}
