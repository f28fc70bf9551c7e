import type { LogEntry, NewRun, RunChange } from './writes.ts'

/** One write of a group. */
export type RunOp<New extends NewRun = NewRun> =
  | { log: LogEntry; create?: undefined; change?: undefined }
  | { create: New; change?: undefined }
  | { change: RunChange; create?: undefined }

/** Rows that it writes, about. */
export function weighRunOp(op: RunOp): number {
  if (op.create) return op.create.tags.length + 1
  if (op.change) return 1
  const { metrics, params, tags } = op.log
  return metrics.length + params.length + tags.length
}

/** Nothing in a group is beside what changes a run or logs params to it. @param oneChange whether a group has one change at most. */
export function apartByRun(oneChange: boolean): (op: RunOp) => boolean {
  /** Runs of the group, and whether nothing may be beside what is there. */
  const runs = new Map<string, boolean>()
  let changed = false
  return op => {
    if (op.create) return false
    if (op.change && changed && oneChange) return true
    const runId = op.change ? op.change.runId : op.log.runId
    const alone = op.change !== undefined || op.log.params.length > 0
    if (runs.has(runId) && (alone || runs.get(runId))) return true
    runs.set(runId, alone)
    changed ||= op.change !== undefined
    return false
  }
}
