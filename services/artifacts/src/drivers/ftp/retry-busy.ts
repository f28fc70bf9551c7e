import { setTimeout as sleep } from 'node:timers/promises'
import { isBusy } from './errors.ts'

export const BUSY_ATTEMPTS_MAX = 4
const FIRST_PAUSE_MS = 200

/** Does `action`, which must be safe to repeat, again while the server is too busy for one of its commands. */
export async function retryWhileBusy<T>(action: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await action()
    } catch (error) {
      if (!isBusy(error) || attempt === BUSY_ATTEMPTS_MAX) throw error
    }
    await pauseAfter(attempt, signal)
  }
}

export async function pauseAfter(attempt: number, signal?: AbortSignal): Promise<void> {
  await sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1) * (1 + Math.random()), undefined, { signal })
}
