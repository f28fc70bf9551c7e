import { setTimeout as sleep } from 'node:timers/promises'
import { isRetryable } from './errors.ts'

const retryForMs = 20_000
const backoffMs = 5
const backoffMsMax = 250

/**
 * Runs `work` again after a serialization failure, a deadlock or a lock held elsewhere; the last failure is thrown.
 * @param isTransient tells these of other failures; by itself of those that `translateError` made.
 */
export async function retrying<T>(work: () => Promise<T>, isTransient = isRetryable): Promise<T> {
  const deadline = Date.now() + retryForMs
  for (let wait = backoffMs; ; wait = Math.min(2 * wait, backoffMsMax)) {
    try {
      return await work()
    } catch (reason) {
      if (!isTransient(reason) || Date.now() > deadline) throw reason
      await sleep(wait * (0.5 + Math.random()))
    }
  }
}
