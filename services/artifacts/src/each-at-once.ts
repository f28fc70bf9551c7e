/** Results in the order of the items, with at most so many calls at a time. After a failure no more begin; those that have are waited for. */
export async function eachAtOnce<T, R>(items: readonly T[], atOnce: number, action: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const left = items.entries()
  let failed = false
  const work = async () => {
    for (const [i, item] of left) {
      if (failed) return
      try {
        results[i] = await action(item, i)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const outcomes = await Promise.allSettled(Array.from({ length: Math.min(atOnce, items.length) }, work))
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  return results
}
