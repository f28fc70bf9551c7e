import pLimit, { type LimitFunction } from 'p-limit'

/** Results in the order of the items, with at most so many calls at a time. After a failure no more begin; those that have are waited for. */
export async function eachAtOnce<T, R>(items: readonly T[], atOnce: number, action: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const limit = pLimit({ concurrency: atOnce, rejectOnClear: true })
  const calls = items.map(async (item, index) => {
    try {
      return await limit(action, item, index)
    } catch (error) {
      limit.clearQueue()
      throw error
    }
  })
  await Promise.allSettled(calls)
  // Those that never began come after all that did.
  return Promise.all(calls)
}

/** Calls when the limit lets it, first come first served. Whoever gives up waiting fails with the reason of the signal, and is not called. */
export async function whenFree<T>(limit: LimitFunction, signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
  signal?.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const giveUp = () => reject(signal?.reason)
  signal?.addEventListener('abort', giveUp, { once: true })
  void limit(async () => {
    signal?.removeEventListener('abort', giveUp)
    if (!signal?.aborted) await action().then(resolve, reject)
  })
  return promise
}
