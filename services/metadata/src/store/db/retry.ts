import { setTimeout as sleep } from 'node:timers/promises'
import { isRetryable } from './errors.ts'

const attemptsMax = 6
const backoffMs = 10

/** Runs `work` again after a serialization failure, a deadlock or a busy lock; the last failure is thrown. */
export async function retrying<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (reason) {
      if (attempt === attemptsMax || !isRetryable(reason)) throw reason
      await sleep(backoffMs * 2 ** attempt * (0.5 + Math.random()))
    }
  }
}
