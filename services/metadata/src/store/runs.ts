import { doesNotExist } from '@millrace/kit/errors'
import { deleteAssessmentsOf } from './assessments.ts'
import type { AnyDatabase, Executor } from './db.ts'
import { checkRunActive, runAbsent } from './run-errors.ts'

/** What is done to a run now and then; for the rest see RunWrites. */
export class Runs {
  readonly #db: AnyDatabase

  constructor(db: AnyDatabase) {
    this.#db = db
  }

  /** Deleting a deleted run sets its time of deletion anew. @throws RESOURCE_DOES_NOT_EXIST */
  async delete(runId: string): Promise<void> {
    await this.#db.transaction(async tx => {
      await this.#set(tx, runId, { lifecycle_stage: 'deleted', deleted_time: Date.now() })
      await deleteAssessmentsOf(this.#db, tx, [runId])
    })
  }

  /** Restoring an active run changes nothing. @throws RESOURCE_DOES_NOT_EXIST */
  async restore(runId: string): Promise<void> {
    await this.#db.transaction(tx => this.#set(tx, runId, { lifecycle_stage: 'active', deleted_time: null }))
  }

  /** @throws RESOURCE_DOES_NOT_EXIST when the run or the tag is absent. */
  async deleteTag(runId: string, key: string): Promise<void> {
    const { kysely } = this.#db
    await this.#db.transaction(async tx => {
      const run = await tx.get(kysely.selectFrom('runs').select('lifecycle_stage').where('run_uuid', '=', runId).compile())
      if (!run) throw runAbsent(runId)
      checkRunActive(runId, run.lifecycle_stage ?? 'active')
      const removed = await tx.run(kysely.deleteFrom('tags').where('run_uuid', '=', runId).where('key', '=', key).compile())
      if (removed === 0) throw doesNotExist(`No tag with name: ${key} in run with id ${runId}`)
    })
  }

  async #set(tx: Executor, runId: string, values: { lifecycle_stage: string; deleted_time: number | null }): Promise<void> {
    const changed = await tx.run(this.#db.kysely.updateTable('runs').set(values).where('run_uuid', '=', runId).compile())
    if (changed === 0) throw runAbsent(runId)
  }
}
