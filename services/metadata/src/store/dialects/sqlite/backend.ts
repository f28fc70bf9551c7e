import { isAbsolute, resolve } from 'node:path'
import type { Backend } from '../backend.ts'
import { openSqlite } from './database.ts'
import { openSqliteReads } from './reads.ts'
import { SqliteRunWrites } from './run-writes.ts'

export const SQLITE_BACKEND: Backend = {
  schemes: ['sqlite'],
  async open(place) {
    const db = await openSqlite(pathOf(place))
    return { db, openReads: () => openSqliteReads(db), openRunWrites: () => new SqliteRunWrites(db) }
  },
}

/** The file that the rest of a URI in SQLAlchemy's form names; none for a database in memory. */
function pathOf(place: string): string | undefined {
  const file = place.replace(/[?#].*$/, '').replace(/^\//, '')
  if (file === '' || file === ':memory:') return undefined
  return isAbsolute(file) ? file : resolve(file)
}
