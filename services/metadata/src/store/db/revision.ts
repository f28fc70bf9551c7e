import { readFile } from 'node:fs/promises'
import type { DatabaseName } from '../dialects/dialect.ts'

/** The alembic revision of MLflow 3.17.2. */
const HEAD_REVISION = 'dc11669786a5'

/** SQL that makes MLflow's 64 tables at `HEAD_REVISION` with their first rows. */
export function headSchema(database: DatabaseName): Promise<string> {
  return readFile(new URL(`../../../../../prisma/tracking/${database}.sql`, import.meta.url), 'utf8')
}

/** @throws Error naming both revisions when the database's is not `HEAD_REVISION`. */
export function checkRevision(found: string | undefined): void {
  if (found === HEAD_REVISION) return
  throw new Error(
    `the tracking database is at schema revision ${found ?? 'unknown'}, Millrace knows ${HEAD_REVISION} (MLflow 3.17.2): ` +
      'take a backup and bring it there with `mlflow db upgrade` of that version',
  )
}
