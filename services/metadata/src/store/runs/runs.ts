import { badRequest, doesNotExist } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { sql } from 'kysely'
import { deleteAssessmentsOf } from '../assessments.ts'
import { type Database, type Executor, runEach } from '../db.ts'
import { beingRemoved, RUN_IS_BEING_REMOVED, RUN_WITHOUT_MARK } from '../removal-marks.ts'
import { activeRun, checkRunActive, runAbsent } from './checks.ts'

const LOGGED_MODELS_TAG = 'mlflow.log-model.history'

/** What is done to a run now and then; for the rest see RunWrites. */
export class Runs {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  /** Deleting a deleted run sets its time of deletion anew, unless its removal has begun. @throws RESOURCE_DOES_NOT_EXIST */
  async delete(runId: string): Promise<void> {
    await this.#db.transaction(async tx => {
      await this.#set(tx, runId, { lifecycle_stage: 'deleted', deleted_time: Date.now() })
      await deleteAssessmentsOf(this.#db, tx, [runId])
    })
  }

  /** Restoring an active run changes nothing. @throws RESOURCE_DOES_NOT_EXIST, BAD_REQUEST when its removal has begun. */
  async restore(runId: string): Promise<void> {
    await this.#db.transaction(async tx => {
      const changed = await this.#set(tx, runId, { lifecycle_stage: 'active', deleted_time: null })
      if (!changed) throw beingRemoved('Run', runId)
    })
  }

  /** @throws RESOURCE_DOES_NOT_EXIST when the run or the tag is absent. */
  async deleteTag(runId: string, key: string): Promise<void> {
    const { kysely } = this.#db
    await this.#db.transaction(async tx => {
      const run = await tx.get(kysely.selectFrom('runs').select('lifecycle_stage').where('run_uuid', '=', runId).compile())
      if (!run) throw runAbsent(runId)
      checkRunActive(runId, run.lifecycle_stage ?? 'active')
      const removed = await tx.run(kysely.deleteFrom('tags').where('run_uuid', '=', runId).where('key', '=', key).compile())
      if (removed === 0) throw doesNotExist(`No tag with name: ${shorten(key)} in run with id ${shorten(runId)}`)
    })
  }

  /**
   * Appends a model to the list that a run keeps in a tag.
   * @param summary the model as JSON text.
   */
  recordLoggedModel(runId: string, summary: string): Promise<void> {
    const { kysely, dialect } = this.#db
    return this.#db.transaction(async tx => {
      await activeRun(this.#db, tx, runId)
      const tag = kysely.selectFrom('tags').select('value').where('run_uuid', '=', runId).where('key', '=', LOGGED_MODELS_TAG)
      const before = await tx.get(tag.compile())
      const value = before ? append(before.value ?? '', summary) : `[${summary}]`
      const rows = [{ key: LOGGED_MODELS_TAG, value, run_uuid: runId }]
      await runEach(tx, dialect.upsert({ table: 'tags', key: ['key', 'run_uuid'], rows }), this.#db)
    })
  }

  /** @returns false, with nothing changed, for a run whose removal has begun. */
  async #set(tx: Executor, runId: string, values: { lifecycle_stage: string; deleted_time: number | null }): Promise<boolean> {
    const { kysely } = this.#db
    const update = kysely
      .updateTable('runs')
      .set({ ...values, entry_point_name: sql.raw(RUN_WITHOUT_MARK) })
      .where('run_uuid', '=', runId)
      .where(sql<boolean>`NOT (${sql.raw(RUN_IS_BEING_REMOVED)})`)
    if ((await tx.run(update.compile())) > 0) return true
    const found = await tx.get(kysely.selectFrom('runs').select('run_uuid').where('run_uuid', '=', runId).compile())
    if (!found) throw runAbsent(runId)
    return false
  }
}

function append(list: string, entry: string): string {
  const inner = /^\s*\[([\s\S]*)\]\s*$/.exec(list)?.[1]
  if (inner === undefined) throw badRequest(`The tag ${LOGGED_MODELS_TAG} holds no list`)
  return inner.trim() ? `[${inner}, ${entry}]` : `[${entry}]`
}
