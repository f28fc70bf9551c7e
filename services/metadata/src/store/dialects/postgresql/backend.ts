import type { Backend } from '../backend.ts'
import { openPostgresReads } from './reads.ts'
import { PostgresRunWrites } from './run-writes.ts'

export const POSTGRESQL_BACKEND: Backend = {
  schemes: ['postgresql', 'postgres'],
  async open(place, poolSize) {
    const { openPostgres } = await import('./database.ts')
    const db = await openPostgres(`postgresql://${place}`, poolSize)
    return { db, openReads: () => openPostgresReads(db), openRunWrites: () => new PostgresRunWrites(db) }
  },
}
