import type { AnyDatabase } from './db.ts'
import type { RunWrites } from './run-writes.ts'
import { PostgresRunWrites } from './run-writes-postgres.ts'
import { SqliteRunWrites } from './run-writes-sqlite.ts'

export function openRunWrites(db: AnyDatabase): RunWrites {
  return db.dialect === 'sqlite' ? new SqliteRunWrites(db) : new PostgresRunWrites(db)
}
