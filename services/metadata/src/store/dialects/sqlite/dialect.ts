import { sql } from 'kysely'
import type { Dialect, Words } from '../dialect.ts'
import { onConflictWrites } from '../on-conflict.ts'
import { failureOf } from './errors.ts'

/** SQLITE_MAX_VARIABLE_NUMBER is 32,766. */
const PARAMETERS_MAX = 32_766
const LIMIT_NONE = 2n ** 63n - 1n

const NO_LOCK = { hint: sql``, end: sql`` }

const WORDS: Words = {
  like: (column, pattern, caseSensitive) => (caseSensitive ? sql`${column} LIKE ${pattern}` : sql`lower(${column}) LIKE lower(${pattern})`),
  equal: (column, text) => sql`${column} = ${text}`,
  oneOf: (column, values) => sql`${column} IN (SELECT value FROM json_each(${JSON.stringify(values)}))`,
  oneOfIds: (column, values) =>
    values.length === 1 ? sql`${column} = ${values[0]}` : sql`${column} IN (SELECT value FROM json_each(${`[${values.join()}]`}))`,
  textOrder: column => column,
  ordered: (term, ascending, nulls) =>
    sql`${term} ${sql.raw(ascending ? 'ASC' : 'DESC')} NULLS ${sql.raw(nulls === 'first' ? 'FIRST' : 'LAST')}`,
  page: (limit = LIMIT_NONE, offset) => (offset === undefined ? sql`LIMIT ${limit}` : sql`LIMIT ${limit} OFFSET ${offset}`),
  real: value => sql`${value}`,
  text: expression => sql`CAST(${expression} AS TEXT)`,
  integer: expression => sql`CAST(${expression} AS BIGINT)`,
  isTrue: column => column,
  existsValue: from => sql`((SELECT 1 ${from} LIMIT 1) IS NOT NULL)`,
  numberedIds: ids => sql`(SELECT key AS n, value AS id FROM json_each(${JSON.stringify(ids)}))`,
  join: 'CROSS JOIN',
  insertionOrder: 'rowid',
  // One writer at a time.
  rowLock: () => NO_LOCK,
  deleteSome: (table, where, count) =>
    sql`DELETE FROM ${sql.table(table)} WHERE rowid IN (SELECT rowid FROM ${sql.table(table)} WHERE ${where} LIMIT ${count})`,
}

export const SQLITE: Dialect = { name: 'sqlite', ...WORDS, ...onConflictWrites(PARAMETERS_MAX), failureOf }
