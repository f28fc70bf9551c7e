import { readdir, readFile } from 'node:fs/promises'
import type Database from 'better-sqlite3'
import type { ClientBase } from 'pg'
import { CONTROL_SCHEMA } from './target.ts'

interface Migration {
  readonly name: string
  readonly sql: string
}

/** One number for all of Millrace: its migrators take turns in a PostgreSQL database. */
const ADVISORY_LOCK = 7_215_346_091n

async function readMigrations(provider: string): Promise<Migration[]> {
  const folder = new URL(`migrations/${provider}/`, import.meta.url)
  const names = (await readdir(folder)).filter(name => name.endsWith('.sql')).sort()
  return Promise.all(names.map(async name => ({ name, sql: await readFile(new URL(name, folder), 'utf8') })))
}

function missing(known: readonly Migration[], applied: readonly string[]): Migration[] {
  const unknown = applied.find(name => !known.some(migration => migration.name === name))
  if (unknown !== undefined) {
    const last = known.at(-1)?.name
    throw new Error(`The control database has the migration ${unknown}, which this version doesn't know: it knows migrations up to ${last}`)
  }
  return known.filter(migration => !applied.includes(migration.name))
}

/** Brings the tables up to date in one transaction; another process that tries meanwhile waits. */
export async function migrateSqlite(db: Database.Database): Promise<void> {
  const known = await readMigrations('sqlite')
  const run = db.transaction(() => {
    db.exec('CREATE TABLE IF NOT EXISTS "migrations" ("name" TEXT NOT NULL PRIMARY KEY, "applied_time" BIGINT NOT NULL)')
    const applied = db.prepare<[], { name: string }>('SELECT "name" FROM "migrations"').all()
    const record = db.prepare('INSERT INTO "migrations" ("name", "applied_time") VALUES (?, ?)')
    for (const migration of missing(
      known,
      applied.map(row => row.name),
    )) {
      db.exec(migration.sql)
      record.run(migration.name, Date.now())
    }
  })
  run.immediate()
}

/** Brings the schema `millrace` up to date in one transaction, under an advisory lock. Nothing outside that schema is touched. */
export async function migratePostgresql(client: ClientBase): Promise<void> {
  const known = await readMigrations('postgresql')
  await client.query('BEGIN')
  try {
    await client.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK])
    const { rows } = await client.query<{ there: boolean }>('SELECT to_regnamespace($1) IS NOT NULL AS there', [CONTROL_SCHEMA])
    if (!rows[0]?.there) await client.query(`CREATE SCHEMA "${CONTROL_SCHEMA}"`)
    await client.query(`SET LOCAL search_path TO "${CONTROL_SCHEMA}"`)
    await client.query('CREATE TABLE IF NOT EXISTS "migrations" ("name" TEXT PRIMARY KEY, "applied_time" BIGINT NOT NULL)')
    const applied = await client.query<{ name: string }>('SELECT "name" FROM "migrations"')
    for (const migration of missing(
      known,
      applied.rows.map(row => row.name),
    )) {
      await client.query(migration.sql)
      await client.query('INSERT INTO "migrations" ("name", "applied_time") VALUES ($1, $2)', [migration.name, Date.now()])
    }
    await client.query('COMMIT')
  } catch (reason) {
    await client.query('ROLLBACK')
    throw reason
  }
}
