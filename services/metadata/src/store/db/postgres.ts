import { type CompiledQuery, DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely'
import pg from 'pg'
import type { DB, Executor, PostgresDatabase, Query } from '../db.ts'
import { translateError } from './errors.ts'
import { retrying } from './retry.ts'
import { checkRevision, headSchema } from './revision.ts'

const connectTimeoutMs = 10_000
const statementTimeoutMs = 120_000
const queryTimeoutMs = statementTimeoutMs + 10_000
const idleTimeoutMs = 60_000
/** Any number, the same in every process that may create the schema: `mlra` in ASCII. */
const createLockKey = 0x6d6c7261

export async function openPostgres(connectionString: string, poolSize: number): Promise<PostgresDatabase> {
  const pool = new pg.Pool({
    connectionString,
    max: poolSize,
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: idleTimeoutMs,
    statement_timeout: statementTimeoutMs,
    query_timeout: queryTimeoutMs,
    keepAlive: true,
    application_name: 'millrace-metadata',
    // A page of runs is many small index lookups, whose estimated cost calls PostgreSQL's compiler: 700 ms instead of 30. The default
    // price of a page, for disks that turn, has all runs read where a look for each of 250 is enough: 3.2 ms instead of 2.
    options: '-c jit=off -c random_page_cost=1.1',
  })
  pool.on('error', () => {})
  const db = new Postgres(pool)
  try {
    await createSchema(db)
  } catch (reason) {
    await pool.end()
    throw reason
  }
  return db
}

/** Under a lock: two processes may meet on an empty database. */
async function createSchema(db: Postgres): Promise<void> {
  const sql = await headSchema('postgresql')
  await db.transaction(async (tx, client) => {
    await tx.run({ sql: 'SELECT pg_advisory_xact_lock($1)', parameters: [createLockKey] })
    const tables = await tx.all<{ name: string }>({
      sql: "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema() AND tablename IN ('alembic_version', 'experiments')",
      parameters: [],
    })
    if (tables.length === 0) await client.query(sql)
    const known = tables.length === 0 || tables.some(t => t.name === 'alembic_version')
    const row = known
      ? await tx.get<{ version_num: string }>({ sql: 'SELECT version_num FROM alembic_version', parameters: [] })
      : undefined
    checkRevision(row?.version_num)
  })
}

class Postgres implements PostgresDatabase {
  readonly dialect = 'postgresql'
  readonly kysely = new Kysely<DB>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: db => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  })
  readonly #pool: pg.Pool
  readonly #direct: Executor

  constructor(pool: pg.Pool) {
    this.#pool = pool
    this.#direct = executor(pool)
  }

  all<R>(query: CompiledQuery<R> | Query<R>): Promise<R[]> {
    return this.#direct.all(query)
  }

  get<R>(query: CompiledQuery<R> | Query<R>): Promise<R | undefined> {
    return this.#direct.get(query)
  }

  run(query: CompiledQuery<unknown> | Query): Promise<number> {
    return retrying(() => this.#direct.run(query))
  }

  transaction<T>(work: (tx: Executor, client: pg.PoolClient) => Promise<T>): Promise<T> {
    return retrying(async () => {
      const client = await connect(this.#pool)
      let broken: Error | undefined
      try {
        await client.query('BEGIN')
        const result = await work(executor(client), client)
        await client.query('COMMIT')
        return result
      } catch (reason) {
        await client.query('ROLLBACK').catch((failed: Error) => {
          broken = failed
        })
        throw translateError(reason)
      } finally {
        client.release(broken)
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
  }
}

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect()
  } catch (reason) {
    throw translateError(reason)
  }
}

type Parser = (text: string) => unknown
const int8 = 20
const narrow = types(text => {
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : BigInt(text)
})
const exact = types(BigInt)

function types(parse: Parser): pg.CustomTypesConfig {
  return { getTypeParser: (oid, format) => (oid === int8 ? parse : pg.types.getTypeParser(oid, format)) as never }
}

function executor(on: pg.Pool | pg.PoolClient): Executor {
  const send = async (query: Query) => {
    try {
      return await on.query({
        text: query.sql,
        values: query.parameters as unknown[],
        types: query.wide ? exact : narrow,
        ...(query.name && { name: query.name }),
      })
    } catch (reason) {
      throw translateError(reason)
    }
  }
  return {
    all: async <R>(query: CompiledQuery<R> | Query<R>) => (await send(query as Query)).rows as R[],
    get: async <R>(query: CompiledQuery<R> | Query<R>) => (await send(query as Query)).rows[0] as R | undefined,
    run: async query => (await send(query as Query)).rowCount ?? 0,
  }
}
