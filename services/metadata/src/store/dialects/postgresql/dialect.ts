import { sql } from 'kysely'
import type { Dialect, Words } from '../dialect.ts'
import { onConflictWrites } from '../on-conflict.ts'
import { failureOf } from './errors.ts'

/** A message of the protocol counts parameters in 16 bits. */
const PARAMETERS_MAX = 65_535
const LIMIT_NONE = 2n ** 63n - 1n

const LOCKS = { share: sql`FOR SHARE`, change: sql`FOR NO KEY UPDATE` } as const

const WORDS: Words = {
  like: (column, pattern, caseSensitive) =>
    caseSensitive ? sql`${column} LIKE ${pattern} ESCAPE ''` : sql`${column} ILIKE ${pattern} ESCAPE ''`,
  equal: (column, text) => sql`${column} = ${text}`,
  oneOf: (column, values) => sql`${column} = ANY(${values}::text[])`,
  oneOfIds: (column, values) => sql`${column} = ANY(${values.map(String)}::bigint[])`,
  textOrder: column => sql`${column} COLLATE "C"`,
  ordered: (term, ascending, nulls) =>
    sql`${term} ${sql.raw(ascending ? 'ASC' : 'DESC')} NULLS ${sql.raw(nulls === 'first' ? 'FIRST' : 'LAST')}`,
  page: (limit = LIMIT_NONE, offset) => (offset === undefined ? sql`LIMIT ${limit}` : sql`LIMIT ${limit} OFFSET ${offset}`),
  real: value => sql`${value}::float8`,
  text: expression => sql`CAST(${expression} AS TEXT)`,
  integer: expression => sql`CAST(${expression} AS BIGINT)`,
  isTrue: column => column,
  existsValue: from => sql`((SELECT 1 ${from} LIMIT 1) IS NOT NULL)`,
  numberedIds: ids => sql`(SELECT n, id FROM unnest(${ids}::text[]) WITH ORDINALITY AS given(id, n))`,
  join: 'JOIN',
  insertionOrder: 'ctid',
  rowLock: strength => ({ hint: sql``, end: LOCKS[strength] }),
  deleteSome: (table, where, count) =>
    sql`DELETE FROM ${sql.table(table)} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${sql.table(table)} WHERE ${where} LIMIT ${count}))`,
}

export const POSTGRESQL: Dialect = { name: 'postgresql', ...WORDS, ...onConflictWrites(PARAMETERS_MAX), failureOf }
