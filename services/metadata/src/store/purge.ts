import { sql } from 'kysely'
import type { Database, Executor } from './db.ts'
import type { Fragment } from './dialects/dialect.ts'

/** Rows of one delete statement: 2,000 metrics with their four indexes hold SQLite's writer for about 15 ms. */
export const PURGE_CHUNK_ROWS = 2000
/** Traces of one statement: each takes its spans, tags and assessments along. */
const PURGE_CHUNK_TRACES = 50

export interface Guard {
  table: string
  where: Fragment
}

const table = (name: string) => sql.raw(name)

/** Removes rows for good, in transactions that are short enough for writers to get their turn in between. */
export class Purge {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  /**
   * Removes a run with its metrics, params, tags, edges and their tags, and associations.
   * @param guard the row that must be there for anything to be removed. Each transaction looks again and keeps it as it is.
   * @returns whether the run was there and is gone.
   */
  async run(runId: string, guard: Guard): Promise<boolean> {
    for (const name of ['metrics', 'latest_metrics', 'params', 'tags']) await this.chunks(name, sql`run_uuid = ${runId}`, guard)
    await this.chunks('logged_model_metrics', sql`run_id = ${runId}`, guard)
    const edges = sql`((source_type IN ('RUN', 'RUN_INPUT', 'RUN_OUTPUT') AND source_id = ${runId}) OR (destination_type = 'RUN' AND destination_id = ${runId}))`
    return this.#db.transaction(async tx => {
      if (!(await this.holds(tx, guard))) return false
      await this.edges(tx, edges)
      await this.associations(tx, 'run', sql`${runId}`)
      return (await this.delete(tx, 'runs', sql`run_uuid = ${runId}`)) > 0
    })
  }

  /** Removes a logged model with its params, tags, metrics and edges. */
  async loggedModel(modelId: string, guard: Guard): Promise<boolean> {
    const ofModel = sql`model_id = ${modelId}`
    for (const name of ['logged_model_metrics', 'logged_model_params', 'logged_model_tags']) await this.chunks(name, ofModel, guard)
    return this.#db.transaction(async tx => {
      if (!(await this.holds(tx, guard))) return false
      await this.edges(tx, sql`(destination_type IN ('MODEL_INPUT', 'MODEL_OUTPUT') AND destination_id = ${modelId})`)
      await this.associations(tx, 'model', sql`${modelId}`)
      return (await this.delete(tx, 'logged_models', sql`model_id = ${modelId}`)) > 0
    })
  }

  /** Removes traces of an experiment, a chunk of them at a time, with all that refers to them. */
  async traces(experimentId: bigint, guard: Guard): Promise<void> {
    const chunk = sql`SELECT request_id FROM trace_info WHERE experiment_id = ${experimentId} ORDER BY request_id ${this.#db.dialect.page(PURGE_CHUNK_TRACES)}`
    for (;;) {
      const removed = await this.#db.transaction(async tx => {
        if (!(await this.holds(tx, guard))) return 0
        await this.associations(tx, 'trace', sql`SELECT request_id FROM (${chunk}) t`)
        return this.delete(tx, 'trace_info', sql`request_id IN (SELECT request_id FROM (${chunk}) t)`)
      })
      if (removed < PURGE_CHUNK_TRACES) return
    }
  }

  /** Deletes the rows of `name` that meet `where`, a chunk per transaction, while `guard` holds. */
  async chunks(name: string, where: Fragment, guard: Guard): Promise<void> {
    const query = this.#db.dialect.deleteSome(name, where, PURGE_CHUNK_ROWS).compile(this.#db.kysely)
    const remove = () => this.#db.transaction(async tx => ((await this.holds(tx, guard)) ? tx.run(query) : 0))
    while ((await remove()) === PURGE_CHUNK_ROWS);
  }

  /** Deletes edges with their tags. */
  async edges(tx: Executor, where: Fragment): Promise<void> {
    await this.delete(tx, 'input_tags', sql`input_uuid IN (SELECT input_uuid FROM inputs WHERE ${where})`)
    await this.delete(tx, 'inputs', where)
  }

  async associations(tx: Executor, type: string, ids: Fragment): Promise<void> {
    await this.delete(tx, 'entity_associations', sql`source_type = ${type} AND source_id IN (${ids})`)
    await this.delete(tx, 'entity_associations', sql`destination_type = ${type} AND destination_id IN (${ids})`)
  }

  delete(tx: Executor, name: string, where: Fragment): Promise<number> {
    return tx.run(sql`DELETE FROM ${table(name)} WHERE ${where}`.compile(this.#db.kysely))
  }

  /** @param guard see `run`. */
  async holds(tx: Executor, guard: Guard): Promise<boolean> {
    const { hint, end } = this.#db.dialect.rowLock('share')
    const query = sql`SELECT 1 AS found FROM ${table(guard.table)} ${hint} WHERE ${guard.where} ${end}`
    return (await tx.get(query.compile(this.#db.kysely))) !== undefined
  }
}
