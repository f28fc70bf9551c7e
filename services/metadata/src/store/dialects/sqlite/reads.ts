import { sql } from 'kysely'
import { type JsonSource, openJsonReads } from '../../shapes/json-reads.ts'
import type { Reads, RunSource } from '../../shapes/reads.ts'
import { readPage, readTexts, slice } from '../../shapes/slices.ts'
import type { SqliteDatabase } from './database.ts'
import { SQLITE_JSON } from './json.ts'
import { ReadPool } from './read-pool.ts'

/** Of a file, reads that may be long run on threads of their own. */
export function openSqliteReads(db: SqliteDatabase): Reads {
  const lookup: JsonSource['lookup'] = statement => async id => (await readTexts(db, { ...statement, parameters: [id] }))[0]
  if (!db.path) {
    const rows: JsonSource['rows'] = async (statement, caller) => slice(await readTexts(db, statement, caller))
    return openJsonReads(
      db,
      { lookup, rows, page: (job, caller) => readPage(db, job, caller), async [Symbol.asyncDispose]() {} },
      SQLITE_JSON,
    )
  }
  const pool = new ReadPool({ path: db.path })
  const source: JsonSource = {
    lookup,
    rows: (statement, caller) => pool.rows(statement, caller),
    page: (job, caller) => pool.page(job, caller),
    runsOf: ids => placesOf(db, ids),
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
  return openJsonReads(db, source, SQLITE_JSON)
}

/** The connections of a ReadPool know the places of an experiment's runs. */
const placesOf = ({ dialect }: SqliteDatabase, ids: readonly bigint[]): RunSource => ({
  from: sql`run_places p CROSS JOIN runs r ON r.rowid = p.place`,
  where: sql`${dialect.oneOfIds(sql`p.experiment_id`, ids)} AND r.experiment_id = p.experiment_id`,
  startTime: sql`p.start_time`,
})
