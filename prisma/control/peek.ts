import { existsSync } from 'node:fs'
import { CONNECT_TIMEOUT_MS, CONTROL_SCHEMA, type ControlTarget } from './target.ts'

const work = (uploadsBefore: number) => `
  SELECT 1 WHERE EXISTS (SELECT 1 FROM "jobs" WHERE "state" IN ('PENDING', 'RUNNING'))
    OR EXISTS (SELECT 1 FROM "multipart_uploads" WHERE "state" IN ('OPEN', 'FAILED') AND "updated_time" < ${Math.floor(uploadsBefore)})`

/**
 * Whether a control database is there and holds jobs that have not ended, or multipart uploads that nobody touched since a time in
 * milliseconds since the epoch. It asks the driver alone: an idle server then never loads
 * Prisma, which costs it about 60 MiB.
 */
export async function hasWork(target: ControlTarget, uploadsBefore: number): Promise<boolean> {
  if (target.provider === 'sqlite') {
    if (!existsSync(target.path)) return false
    const { default: Database } = await import('better-sqlite3')
    const db = new Database(target.path, { fileMustExist: true, timeout: 0 })
    try {
      const there = db.prepare(`SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'jobs'`).get()
      return there !== undefined && db.prepare(work(uploadsBefore)).get() !== undefined
    } finally {
      db.close()
    }
  }
  const { default: pg } = await import('pg')
  const client = new pg.Client({
    connectionString: target.url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
    options: `-c search_path=${CONTROL_SCHEMA}`,
  })
  client.on('error', () => undefined)
  await client.connect()
  try {
    const { rows } = await client.query<{ there: boolean }>(`SELECT to_regclass('${CONTROL_SCHEMA}.jobs') IS NOT NULL AS there`)
    return rows[0]?.there === true && (await client.query(work(uploadsBefore))).rows.length > 0
  } finally {
    await client.end()
  }
}
