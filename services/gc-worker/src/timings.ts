/** Periods of the worker, in milliseconds. */
export interface Timings {
  /** How long a lease holds without being renewed; it is renewed three times as often. Clocks of workers may differ by half of it. */
  leaseMs: number
  /** How often the control database is asked for due jobs. */
  sweepMs: number
  /** How often it is asked for abandoned uploads. */
  expirySweepMs: number
  /** How long after the start an embedded worker looks for jobs that an earlier process left. */
  startDelayMs: number
  /** How long a due job may wait for Redis to hand it to a worker before the sweeper runs it itself. */
  doorbellPatienceMs: number
  heartbeatMs: number
  /** Without activity for this long the worker is not ready. */
  silenceMs: number
  /** First pause before what failed for a passing reason is tried again; it doubles from time to time. */
  retryMs: number
}

export const DEFAULT_TIMINGS: Timings = {
  leaseMs: 30_000,
  sweepMs: 5_000,
  expirySweepMs: 60_000,
  startDelayMs: 3_000,
  doorbellPatienceMs: 10_000,
  heartbeatMs: 5_000,
  silenceMs: 30_000,
  retryMs: 1_000,
}

const RETRY_MS_MAX = 60_000

/** The pause before attempt number `attempt` + 1. */
export function backoffMs(firstMs: number, attempt: number): number {
  return Math.min(firstMs * 2 ** Math.max(0, attempt - 1), RETRY_MS_MAX)
}
