import { sql } from 'kysely'
import type { Fragment, Row, Writes } from './dialect.ts'

const names = (columns: readonly string[]) => sql.join(columns.map(column => sql.ref(column)))

/** Writes of a database that knows ON CONFLICT and RETURNING. @param parametersMax of one statement. */
export function onConflictWrites(parametersMax: number): Writes {
  const inserts = (table: string, rows: readonly Row[], end: Fragment): Fragment[] => {
    const columns = Object.keys(rows[0] ?? {})
    const rowsMax = Math.floor(parametersMax / Math.max(columns.length, 1))
    const statements: Fragment[] = []
    for (let at = 0; at < rows.length; at += rowsMax) {
      const values = rows.slice(at, at + rowsMax).map(row => sql`(${sql.join(columns.map(column => row[column]))})`)
      statements.push(sql`INSERT INTO ${sql.table(table)} (${names(columns)}) VALUES ${sql.join(values)} ${end}`)
    }
    return statements
  }
  return {
    insert: (table, rows) => inserts(table, rows, sql``),
    insertNew: (table, key, rows) => inserts(table, rows, sql`ON CONFLICT (${names(key)}) DO NOTHING`),
    insertGivingId: (table, row, column) => inserts(table, [row], sql`RETURNING ${sql.ref(column)} AS id`),
    upsert({ table, key, rows, whenGreater }) {
      const changed = Object.keys(rows[0] ?? {}).filter(column => !key.includes(column))
      const set = changed.map(column => sql`${sql.ref(column)} = ${sql.ref(`excluded.${column}`)}`)
      const of = (source: string) => sql`(${names((whenGreater ?? []).map(column => `${source}.${column}`))})`
      const when = whenGreater ? sql`WHERE ${of('excluded')} > ${of(table)}` : sql``
      return inserts(table, rows, sql`ON CONFLICT (${names(key)}) DO UPDATE SET ${sql.join(set)} ${when}`)
    },
  }
}
