import type { Caller } from '@millrace/kit/call-context'
import { alreadyExists, doesNotExist, invalidParameter, invalidState } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { sql } from 'kysely'
import { experimentId } from '../../search/values.ts'
import { appendToUriPath, resolveIfLocal } from '../artifact-uri.ts'
import { deleteAssessmentsOf } from '../assessments.ts'
import { isUniqueViolation } from '../db/errors.ts'
import { type Database, type Executor, runEach, runGivingId, statement } from '../db.ts'
import { beingRemoved, EXPERIMENT_MARK_KEY, RUN_IS_BEING_REMOVED, RUN_WITHOUT_MARK } from '../removal-marks.ts'
import type { Reads } from '../shapes/reads.ts'
import { EXPERIMENT, type ExperimentRecord, type ExperimentSearch, searchExperimentsSql } from './search.ts'

export interface ExperimentRow {
  experiment_id: number
  name: string
  artifact_location: string | null
  lifecycle_stage: string
  creation_time: number | null
  last_update_time: number | null
  workspace: string
}

export interface Tag {
  key: string
  value: string
}

export interface ExperimentWithTags extends ExperimentRow {
  tags: { key: string; value: string | null }[]
}

export interface ExperimentOptions {
  readonly defaultArtifactRoot: string
}

const workspace = 'default'
const DEFAULT_ID = 0
const INT32_MAX = 2_147_483_647n

/** Experiments with their tags. Ids are decimal texts; "" is the default experiment where one is read or renamed, as in MLflow's store. */
export class Experiments {
  readonly #db: Database
  readonly #reads: Reads
  readonly #root: string
  #lastChange = 0
  readonly #tagsOf: (id: number) => ReturnType<ReturnType<typeof statement<{ key: string; value: string | null }>>>

  constructor(db: Database, reads: Reads, { defaultArtifactRoot }: ExperimentOptions) {
    this.#db = db
    this.#reads = reads
    this.#root = resolveIfLocal(defaultArtifactRoot)
    this.#tagsOf = statement(db.kysely.selectFrom('experiment_tags').select(['key', 'value']).where('experiment_id', '=', 0).compile().sql)
  }

  /** @throws Error when experiments belong to a workspace: without workspaces they could not be reached. */
  async checkWorkspaces(): Promise<void> {
    const query = sql<{ workspace: string }>`SELECT min(workspace) AS workspace FROM experiments WHERE workspace <> ${workspace}`
    const found = await this.#db.get(query.compile(this.#db.kysely))
    if (found?.workspace)
      throw new Error(`experiments exist outside the default workspace, in '${found.workspace}': Millrace has no workspaces`)
  }

  /** Makes the default experiment, id 0, when there is none. */
  async ensureDefault(): Promise<void> {
    const now = Date.now()
    const values = {
      experiment_id: DEFAULT_ID,
      name: 'Default',
      artifact_location: appendToUriPath(this.#root, String(DEFAULT_ID)),
      lifecycle_stage: 'active',
      creation_time: now,
      last_update_time: now,
      workspace,
    }
    await this.#db.transaction(tx => runEach(tx, this.#db.dialect.insertNew('experiments', ['experiment_id'], [values]), this.#db))
  }

  /** @throws RESOURCE_ALREADY_EXISTS when an experiment, a deleted one too, has the name. */
  async create(name: string, artifactLocation: string | undefined, tags: readonly Tag[]): Promise<string> {
    const { kysely, dialect } = this.#db
    const now = this.#changeTime()
    const values = {
      name,
      artifact_location: artifactLocation,
      lifecycle_stage: 'active',
      creation_time: now,
      last_update_time: now,
      workspace,
    }
    try {
      return await this.#db.transaction(async tx => {
        const id = Number(await runGivingId(tx, dialect.insertGivingId('experiments', values, 'experiment_id'), this.#db))
        if (!artifactLocation) {
          const location = appendToUriPath(this.#root, String(id))
          await tx.run(kysely.updateTable('experiments').set({ artifact_location: location }).where('experiment_id', '=', id).compile())
        }
        const rows = tags.map(({ key, value }) => ({ experiment_id: id, key, value }))
        await runEach(tx, dialect.insert('experiment_tags', rows), this.#db)
        return String(id)
      })
    } catch (reason) {
      if (!isUniqueViolation(reason)) throw reason
      throw alreadyExists(`Experiment(name=${shorten(name)}) already exists. Error: the name is taken`, { cause: reason })
    }
  }

  /** In any lifecycle stage. @throws RESOURCE_DOES_NOT_EXIST */
  async get(id: string): Promise<ExperimentWithTags> {
    return this.#withTags(await this.#find(this.#db, id || String(DEFAULT_ID)))
  }

  /** In any lifecycle stage. */
  async getByName(name: string): Promise<ExperimentWithTags | undefined> {
    const query = this.#db.kysely.selectFrom('experiments').selectAll().where('name', '=', name).where('workspace', '=', workspace)
    const row = (await this.#db.get(query.compile())) as ExperimentRow | undefined
    return row && this.#withTags(row)
  }

  /** A page of experiments in order, and whether more follow. */
  async search(search: ExperimentSearch, pageSize: number, caller?: Caller): Promise<{ experiments: ExperimentRecord[]; more: boolean }> {
    const experiments: ExperimentRecord[] = []
    const found = this.#reads.list<ExperimentRecord>(EXPERIMENT, searchExperimentsSql(search, pageSize + 1, this.#reads.dialect), caller)
    for await (const slice of found) experiments.push(...slice)
    const more = experiments.length > pageSize
    if (more) experiments.length = pageSize
    return { experiments, more }
  }

  /** @throws INVALID_STATE when it is deleted, BAD_REQUEST when the name is taken. */
  async rename(id: string, name: string): Promise<void> {
    await this.#db.transaction(async tx => {
      const found = await this.#find(tx, id || String(DEFAULT_ID))
      if (found.lifecycle_stage !== 'active') throw invalidState('Cannot rename a non-active experiment.')
      await this.#update(tx, found.experiment_id, { name })
    })
  }

  /** Deletes an active experiment and all of its runs; both can be restored. Whoever makes a run in it locks its row: see dialects/postgresql/run-sql.ts. */
  async delete(id: string): Promise<void> {
    await this.#db.transaction(async tx => {
      const { experiment_id } = await this.#find(tx, id, 'active', 'change')
      const { kysely } = this.#db
      await this.#update(tx, experiment_id, { lifecycle_stage: 'deleted' })
      const runs = await tx.all(kysely.selectFrom('runs').select('run_uuid').where('experiment_id', '=', experiment_id).compile())
      await deleteAssessmentsOf(
        this.#db,
        tx,
        runs.map(run => run.run_uuid),
      )
      await this.#updateRuns(tx, experiment_id, { lifecycle_stage: 'deleted', deleted_time: Date.now() })
      // One that MLflow restored may have it still.
      const mark = kysely.deleteFrom('experiment_tags').where('experiment_id', '=', experiment_id).where('key', '=', EXPERIMENT_MARK_KEY)
      await tx.run(mark.compile())
    })
  }

  /**
   * Makes a deleted experiment and all of its runs active, those too that were deleted before it, except runs whose removal has begun.
   * @throws BAD_REQUEST when its own removal has begun.
   */
  async restore(id: string): Promise<void> {
    await this.#db.transaction(async tx => {
      const { experiment_id } = await this.#find(tx, id, 'deleted', 'change')
      if (await isMarked(this.#db, tx, experiment_id)) throw beingRemoved('Experiment', String(experiment_id))
      await this.#update(tx, experiment_id, { lifecycle_stage: 'active' })
      await this.#updateRuns(tx, experiment_id, { lifecycle_stage: 'active', deleted_time: null })
    })
  }

  /**
   * An active experiment, which stays so until the end of the transaction.
   * @throws RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE for a deleted one.
   */
  async lockActive(tx: Executor, id: string): Promise<ExperimentRow> {
    const found = await this.#find(tx, id || String(DEFAULT_ID), undefined, 'share')
    checkActive(found)
    return found
  }

  /** @param guard sees the experiment's tags before the write and may throw. */
  async setTag(id: string, { key, value }: Tag, guard?: (experiment: ExperimentWithTags) => void): Promise<void> {
    await this.#db.transaction(async tx => {
      const found = await this.#find(tx, id)
      if (guard) guard(await this.#withTags(found, tx))
      checkActive(found)
      const rows = [{ experiment_id: found.experiment_id, key, value }]
      await runEach(tx, this.#db.dialect.upsert({ table: 'experiment_tags', key: ['key', 'experiment_id'], rows }), this.#db)
    })
  }

  /** @throws RESOURCE_DOES_NOT_EXIST when the experiment or the tag is absent. */
  async deleteTag(id: string, key: string): Promise<void> {
    await this.#db.transaction(async tx => {
      const found = await this.#find(tx, id)
      checkActive(found)
      const remove = this.#db.kysely.deleteFrom('experiment_tags').where('experiment_id', '=', found.experiment_id).where('key', '=', key)
      if ((await tx.run(remove.compile())) === 0)
        throw doesNotExist(`No tag with name: ${shorten(key)} in experiment with id ${shorten(id)}`)
    })
  }

  /** @param strength keeps the row as it is until the end of the transaction. */
  async #find(on: Executor, id: string, stage?: string, strength?: 'share' | 'change'): Promise<ExperimentRow> {
    const number = experimentId(id)
    const absent = () => doesNotExist(`No Experiment with id=${shorten(String(number))} exists`)
    if (number < 0n || number > INT32_MAX) throw absent()
    const lock = strength && this.#db.dialect.rowLock(strength)
    const query = sql<ExperimentRow>`SELECT * FROM experiments ${lock?.hint ?? sql``} WHERE experiment_id = ${Number(number)} ${lock?.end ?? sql``}`
    const row = await on.get(query.compile(this.#db.kysely))
    if (!row || (stage && row.lifecycle_stage !== stage)) throw absent()
    return row
  }

  async #withTags(row: ExperimentRow, on: Executor = this.#db): Promise<ExperimentWithTags> {
    return { ...row, tags: await on.all(this.#tagsOf(row.experiment_id)) }
  }

  /**
   * Milliseconds since the epoch, later than any given before: searches list the experiment that changed last first, also when many
   * change within a millisecond.
   */
  #changeTime(): number {
    this.#lastChange = Math.max(Date.now(), this.#lastChange + 1)
    return this.#lastChange
  }

  async #update(tx: Executor, id: number, values: { name?: string; lifecycle_stage?: string }): Promise<void> {
    const update = this.#db.kysely.updateTable('experiments').set({ ...values, last_update_time: this.#changeTime() })
    await tx.run(update.where('experiment_id', '=', id).compile())
  }

  async #updateRuns(tx: Executor, id: number, values: { lifecycle_stage: string; deleted_time: number | null }): Promise<void> {
    const update = this.#db.kysely
      .updateTable('runs')
      .set({ ...values, entry_point_name: sql.raw(RUN_WITHOUT_MARK) })
      .where('experiment_id', '=', id)
      .where(sql<boolean>`NOT (${sql.raw(RUN_IS_BEING_REMOVED)})`)
    await tx.run(update.compile())
  }
}

/** Whether the removal of a deleted experiment has begun. The caller has locked the experiment's row. */
async function isMarked({ kysely }: Database, tx: Executor, id: number): Promise<boolean> {
  const mark = kysely.selectFrom('experiment_tags').select('key').where('experiment_id', '=', id).where('key', '=', EXPERIMENT_MARK_KEY)
  return (await tx.get(mark.compile())) !== undefined
}

export function checkActive({ experiment_id, lifecycle_stage }: Pick<ExperimentRow, 'experiment_id' | 'lifecycle_stage'>): void {
  if (lifecycle_stage === 'active') return
  throw invalidParameter(`The experiment ${experiment_id} must be in the 'active' state. Current state is ${lifecycle_stage}.`)
}
