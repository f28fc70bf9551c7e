import type { AnyDatabase } from '../db.ts'
import { PostgresRunWrites } from '../dialects/postgresql/run-writes.ts'
import { SqliteRunWrites } from '../dialects/sqlite/run-writes.ts'
import type { RunWrites } from './writes.ts'

export function openRunWrites(db: AnyDatabase): RunWrites {
  return db.dialect === 'sqlite' ? new SqliteRunWrites(db) : new PostgresRunWrites(db)
}
