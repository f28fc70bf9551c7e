import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isBusy, openFileLock } from './file-lock.ts'
import type { PrismaClient } from './gen/sqlite/client/client.ts'
import { migratePostgresql, migrateSqlite } from './migrate.ts'
import { CONNECT_TIMEOUT_MS, CONTROL_SCHEMA, type ControlTarget, STATEMENT_TIMEOUT_MS } from './target.ts'

/** The Prisma client of either provider: they are made from the same models, and the calls in use are the same on both. */
export type ControlClient = PrismaClient

/** The open control database, its tables up to date. */
export interface ControlDatabase extends AsyncDisposable {
  /**
   * Runs calls on the client. On SQLite they take turns, with those of other processes too: a call made while a transaction is open on
   * the one connection would become part of it, and the adapter can lose writes when another process has the lock that it needs
   * (prisma#29933). `work` must not call `use` again.
   */
  use<T>(work: (client: ControlClient) => Promise<T>): Promise<T>
}

const POOL_CONNECTIONS_MAX = 5
/** Short: waiting for a lock stands still with the whole process. */
const LOCK_TIMEOUT_MS = 500

export function openControl(target: ControlTarget): Promise<ControlDatabase> {
  return target.provider === 'sqlite' ? openSqlite(target.path) : openPostgresql(target.url)
}

async function openSqlite(path: string): Promise<ControlDatabase> {
  await mkdir(dirname(path), { recursive: true })
  const { default: Database } = await import('better-sqlite3')
  const { PrismaBetterSqlite3 } = await import('@prisma/adapter-better-sqlite3')
  const { PrismaClient } = await import('./gen/sqlite/client/client.ts')
  const lock = await openFileLock(`${path}-turns`)
  const take = <T>(work: () => Promise<T>) =>
    lock.hold(work).catch(reason => {
      throw isBusy(reason) ? new Error(`The control database ${path} is in use by another process`, { cause: reason }) : reason
    })
  const prepare = async () => {
    const db = new Database(path, { timeout: LOCK_TIMEOUT_MS })
    try {
      db.pragma('journal_mode = WAL')
      db.pragma('synchronous = FULL')
      await migrateSqlite(db)
    } finally {
      db.close()
    }
  }
  const connect = async () => {
    await prepare()
    const client = new PrismaClient({ adapter: new PrismaBetterSqlite3({ url: `file:${path}`, timeout: LOCK_TIMEOUT_MS }) })
    for (const pragma of ['synchronous = FULL', 'foreign_keys = ON']) await client.$queryRawUnsafe(`PRAGMA ${pragma}`)
    return client
  }
  try {
    const client = await take(connect)
    return {
      use: work => take(() => work(client)),
      async [Symbol.asyncDispose]() {
        const disconnect = () => client.$disconnect()
        await take(disconnect).catch(disconnect)
        lock[Symbol.dispose]()
      },
    }
  } catch (reason) {
    lock[Symbol.dispose]()
    throw reason
  }
}

async function openPostgresql(url: string): Promise<ControlDatabase> {
  const { default: pg } = await import('pg')
  const { PrismaPg } = await import('@prisma/adapter-pg')
  const { PrismaClient } = await import('./gen/postgresql/client/client.ts')
  const connection = { connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS, statement_timeout: STATEMENT_TIMEOUT_MS }
  const migrator = new pg.Client(connection)
  migrator.on('error', () => undefined)
  await migrator.connect()
  try {
    await migratePostgresql(migrator)
  } finally {
    await migrator.end()
  }
  const options = { schema: CONTROL_SCHEMA, onPoolError: () => undefined, onConnectionError: () => undefined }
  const adapter = new PrismaPg({ ...connection, max: POOL_CONNECTIONS_MAX, query_timeout: STATEMENT_TIMEOUT_MS }, options)
  const client = new PrismaClient({ adapter }) as unknown as ControlClient
  return { use: work => work(client), [Symbol.asyncDispose]: () => client.$disconnect() }
}
