import { setTimeout as sleep } from 'node:timers/promises'
import { isRetryable } from './errors.ts'

const RETRY_FOR_MS = 20_000
const BACKOFF_MS = 5
const BACKOFF_MS_MAX = 250

/**
 * Runs `work` again after a serialization failure, a deadlock or a lock held elsewhere; the last failure is thrown.
 * @param isTransient tells these of other failures; by itself of those that `translateError` made.
 */
export async function retrying<T>(work: () => Promise<T>, isTransient = isRetryable): Promise<T> {
  const deadline = Date.now() + RETRY_FOR_MS
  for (let wait = BACKOFF_MS; ; wait = Math.min(2 * wait, BACKOFF_MS_MAX)) {
    try {
      return await work()
    } catch (reason) {
      if (!isTransient(reason) || Date.now() > deadline) throw reason
      await sleep(wait * (0.5 + Math.random()))
    }
  }
}
