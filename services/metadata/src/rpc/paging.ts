import { invalidParameter } from '@millrace/kit/errors'

/** Rows of a page of runs or experiments at most. */
const MAX_RESULTS_LIMIT = 50_000

/** @throws INVALID_PARAMETER_VALUE in MLflow's words. */
export function checkMaxResults(value: number | bigint): number {
  if (value < 1) throw invalidParameter(`Invalid value ${value} for parameter 'max_results' supplied. It must be a positive integer`)
  if (value > MAX_RESULTS_LIMIT) {
    throw invalidParameter(`Invalid value ${value} for parameter 'max_results' supplied. It must be at most ${MAX_RESULTS_LIMIT}`)
  }
  return Number(value)
}
