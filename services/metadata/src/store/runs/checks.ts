import { doesNotExist, invalidParameter, type MlflowError } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { sql } from 'kysely'
import { repr } from '../../search/python.ts'
import type { Database, Executor } from '../db.ts'
import type { KeyValue, LogEntry } from './writes.ts'

export const runAbsent = (runId: string): MlflowError => doesNotExist(`Run with id=${shorten(runId)} not found`)

export function checkRunActive(runId: string, stage: string): void {
  if (stage !== 'active') throw invalidParameter(`The run ${runId} must be in the 'active' state. Current state is ${stage}.`)
}

/**
 * The experiment of a run that may be written to.
 * @throws RESOURCE_DOES_NOT_EXIST for an unknown run, INVALID_PARAMETER_VALUE for a deleted one.
 */
export async function activeRun(db: Database, tx: Executor, runId: string): Promise<bigint> {
  const query = sql<{
    experiment_id: number
    lifecycle_stage: string
  }>`SELECT experiment_id, lifecycle_stage FROM runs WHERE run_uuid = ${runId}`
  const run = await tx.get(query.compile(db.kysely))
  if (!run) throw runAbsent(runId)
  checkRunActive(runId, run.lifecycle_stage)
  return BigInt(run.experiment_id)
}

export interface ParamConflict extends KeyValue {
  oldValue: string
}

/** The conflict of a single param, or all those of a batch, in MLflow's words. */
export function paramsChanged({ runId, batch }: LogEntry, conflicts: readonly ParamConflict[]): MlflowError {
  const [first] = conflicts
  if (batch || !first) {
    const shown = repr(conflicts.map(({ key, oldValue, value }) => ({ key, old_value: oldValue, new_value: value })))
    return invalidParameter(`Changing param values is not allowed. Params were already logged='${shown}' for run ID='${shorten(runId)}'.`)
  }
  return invalidParameter(
    `Changing param values is not allowed. Param with key='${first.key}' was already logged with value='${shorten(first.oldValue)}' ` +
      `for run ID='${shorten(runId)}'. Attempted logging new value '${shorten(first.value)}'.`,
  )
}
