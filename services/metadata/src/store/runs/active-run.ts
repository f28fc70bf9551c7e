import { doesNotExist, invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { sql } from 'kysely'
import type { AnyDatabase, Executor } from '../db.ts'

/**
 * The experiment of a run that may be written to.
 * @throws RESOURCE_DOES_NOT_EXIST for an unknown run, INVALID_PARAMETER_VALUE for a deleted one.
 */
export async function activeRun(db: AnyDatabase, tx: Executor, runId: string): Promise<bigint> {
  const query = sql<{
    experiment_id: number
    lifecycle_stage: string
  }>`SELECT experiment_id, lifecycle_stage FROM runs WHERE run_uuid = ${runId}`
  const run = await tx.get(query.compile(db.kysely))
  if (!run) throw doesNotExist(`Run with id=${shorten(runId)} not found`)
  if (run.lifecycle_stage !== 'active') {
    throw invalidParameter(`The run ${runId} must be in the 'active' state. Current state is ${run.lifecycle_stage}.`)
  }
  return BigInt(run.experiment_id)
}
