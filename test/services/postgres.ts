import { globSync } from 'node:fs'
import { chown } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Client } from 'pg'
import { ensurePackages } from './install.ts'
import { freePort, runOk, start, tempFolder } from './process.ts'

export interface PostgresServer extends AsyncDisposable {
  /** Without a database name, for a superuser without a password. */
  readonly url: string
}

const binaries = () => globSync('/usr/lib/postgresql/*/bin/postgres').toSorted().at(-1)

/** A PostgreSQL of its own with the durability settings it comes with, as the user `postgres` when root starts it. */
export async function startPostgres(): Promise<PostgresServer> {
  await ensurePackages(['postgresql', 'util-linux'], () => binaries() !== undefined)
  const bin = dirname(binaries() ?? '')
  const folder = await tempFolder('postgres')
  try {
    const port = await freePort()
    const data = join(folder.path, 'data')
    const asUser = process.getuid?.() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'] : ['env']
    const command = asUser[0] ?? 'env'
    if (process.getuid?.() === 0) {
      const [uid, gid] = await Promise.all(['-u', '-g'].map(async flag => Number(await runOk('id', [flag, 'postgres']))))
      await chown(folder.path, uid ?? 0, gid ?? 0)
    }
    await runOk(
      command,
      [...asUser.slice(1), join(bin, 'initdb'), '-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale'],
      {
        cwd: folder.path,
      },
    )
    const url = `postgresql://postgres@127.0.0.1:${port}`
    const args = [join(bin, 'postgres'), '-D', data, '-p', String(port), '-k', folder.path, '-c', 'listen_addresses=127.0.0.1']
    const server = await start({
      command,
      args: [...asUser.slice(1), ...args, '-c', 'max_connections=300'],
      cwd: folder.path,
      ready: async () => {
        await query(`${url}/postgres`, 'select 1')
        return true
      },
    })
    return {
      url,
      async [Symbol.asyncDispose]() {
        await server.end('SIGINT')
        await folder[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await folder[Symbol.asyncDispose]()
    throw error
  }
}

/** The rows that one statement gives. */
export async function query(url: string, sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000, query_timeout: 30_000 })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(sql, values)).rows
  } finally {
    await client.end()
  }
}
