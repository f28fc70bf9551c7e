import type { Backend } from './backend.ts'
import type { DatabaseName } from './dialect.ts'
import { POSTGRESQL_BACKEND } from './postgresql/backend.ts'
import { SQLITE_BACKEND } from './sqlite/backend.ts'

/** Every database that Millrace runs on. */
export const BACKENDS: Readonly<Record<DatabaseName, Backend>> = { sqlite: SQLITE_BACKEND, postgresql: POSTGRESQL_BACKEND }
