import { temporarilyUnavailable } from '@millrace/kit/errors'
import { isDiskFull } from './errors.ts'

/** Whoever asks waits for 3 s. */
export const READY_TIMEOUT_MS = 2_500
/** Then writes may show whether there is room again. */
const FULL_FOR_MS = 15_000

/** Whether the database had room for what was written last. */
export class FreeSpace {
  #fullUntilMs = 0

  /** @param reason why a write failed. */
  note(reason: unknown): void {
    if (isDiskFull(reason)) this.#fullUntilMs = performance.now() + FULL_FOR_MS
  }

  /** A write went through. */
  clear(): void {
    this.#fullUntilMs = 0
  }

  /** @throws MlflowError TEMPORARILY_UNAVAILABLE */
  check(): void {
    if (performance.now() < this.#fullUntilMs) throw temporarilyUnavailable('The tracking database has no room for writes')
  }
}
