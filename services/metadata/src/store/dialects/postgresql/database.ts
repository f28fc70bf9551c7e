import { type Caller, endOf, throwIfEnded } from '@millrace/kit/call-context'
import { type CompiledQuery, DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely'
import pg from 'pg'
import { isSilence, translateError } from '../../db/errors.ts'
import { FreeSpace, READY_TIMEOUT_MS } from '../../db/readiness.ts'
import { retrying } from '../../db/retry.ts'
import { checkRevision, headSchema } from '../../db/revision.ts'
import type { Database, DB, Executor, Query } from '../../db.ts'
import { POSTGRESQL } from './dialect.ts'
import { failureOf } from './errors.ts'

const CONNECT_TIMEOUT_MS = 10_000
/** MLflow's clients wait for 120 s, and a request may have waited for another one before its own statement begins. */
const STATEMENT_TIMEOUT_MS = 30_000
/** Only of a server that is silent: one that answers ends the statement itself. */
const queryTimeoutMs = STATEMENT_TIMEOUT_MS + 3_000
const STOP_TIMEOUT_MS = 5_000
const SCHEMA_TIMEOUT_MS = 120_000
const IDLE_TIMEOUT_MS = 60_000
/** Any number, the same in every process that may create the schema: `mlra` in ASCII. */
const CREATE_LOCK_KEY = 0x6d6c7261

export async function openPostgres(connectionString: string, poolSize: number): Promise<Database> {
  const open = (size = poolSize) => openPool(connectionString, size)
  const db = new Postgres(open)
  try {
    await createSchema(db)
  } catch (reason) {
    await db[Symbol.asyncDispose]()
    throw reason
  }
  return db
}

function openPool(connectionString: string, poolSize: number): pg.Pool {
  const pool = new pg.Pool({
    connectionString,
    max: poolSize,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: queryTimeoutMs,
    keepAlive: true,
    application_name: 'millrace-metadata',
    // A page of runs is many small index lookups, whose estimated cost calls PostgreSQL's compiler: 700 ms instead of 30. The default
    // price of a page, for disks that turn, has all runs read where a look for each of 250 is enough: 3.2 ms instead of 2.
    options: '-c jit=off -c random_page_cost=1.1',
  })
  // From birth to death, idle or lent: a connection that is cut fails the statement that is on it, and nothing else.
  pool.on('connect', client => client.on('error', ignore))
  pool.on('error', ignore)
  return pool
}

/** Under a lock: two processes may meet on an empty database. */
async function createSchema(db: Postgres): Promise<void> {
  const sql = await headSchema('postgresql')
  await db.transaction(async (tx, client) => {
    await tx.run({ sql: `SET LOCAL statement_timeout = ${SCHEMA_TIMEOUT_MS}`, parameters: [] })
    await tx.run({ sql: 'SELECT pg_advisory_xact_lock($1)', parameters: [CREATE_LOCK_KEY], timeoutMs: SCHEMA_TIMEOUT_MS })
    const tables = await tx.all<{ name: string }>({
      sql: "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema() AND tablename IN ('alembic_version', 'experiments')",
      parameters: [],
    })
    if (tables.length === 0) await client.query({ text: sql, query_timeout: SCHEMA_TIMEOUT_MS } as pg.QueryConfig)
    const known = tables.length === 0 || tables.some(t => t.name === 'alembic_version')
    const row = known
      ? await tx.get<{ version_num: string }>({ sql: 'SELECT version_num FROM alembic_version', parameters: [] })
      : undefined
    checkRevision(row?.version_num)
  })
}

class Postgres implements Database {
  readonly dialect = POSTGRESQL
  readonly kysely = new Kysely<DB>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: db => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  })
  readonly #open: (size?: number) => pg.Pool
  readonly #direct: Executor
  readonly #space = new FreeSpace()
  #pool: pg.Pool
  /** A connection of its own: when others are wanted most, none is free. */
  #stops: pg.Pool | undefined

  constructor(open: (size?: number) => pg.Pool) {
    this.#open = open
    this.#pool = open()
    this.#direct = this.#executor(() => this.#pool)
  }

  async ready(): Promise<void> {
    await this.#direct.get({ sql: 'SELECT 1', parameters: [], timeoutMs: READY_TIMEOUT_MS })
    this.#space.check()
  }

  all<R>(query: CompiledQuery<R> | Query<R>, caller?: Caller): Promise<R[]> {
    return caller ? this.#allFor(query, caller) : this.#direct.all(query)
  }

  get<R>(query: CompiledQuery<R> | Query<R>): Promise<R | undefined> {
    return this.#direct.get(query)
  }

  run(query: CompiledQuery<unknown> | Query): Promise<number> {
    return retrying(() => this.#direct.run(query))
  }

  transaction<T>(work: (tx: Executor, client: pg.PoolClient) => Promise<T>): Promise<T> {
    return retrying(async () => {
      const pool = this.#pool
      const client = await connect(pool)
      let broken: Error | undefined
      try {
        await client.query('BEGIN')
        const result = await work(
          this.#executor(() => client),
          client,
        )
        await client.query('COMMIT')
        return result
      } catch (reason) {
        // A server that is silent would be waited for once more.
        if (isSilence(translateError(reason, failureOf))) broken = reason as Error
        else {
          await client.query('ROLLBACK').catch((failed: Error) => {
            broken = failed
          })
        }
        throw this.#failure(reason, pool)
      } finally {
        client.release(broken)
      }
    })
  }

  async #allFor<R>(query: CompiledQuery<R> | Query<R>, caller: Caller): Promise<R[]> {
    const client = await connect(this.#pool)
    let broken: Error | undefined
    let stopped: Promise<void> | undefined
    const stop = () => {
      stopped = this.#stop(client)
    }
    try {
      throwIfEnded(caller)
      caller.signal.addEventListener('abort', stop, { once: true })
      return await this.#executor(() => client).all(query)
    } catch (reason) {
      if (!caller.hasEnded) broken = reason as Error
      throw caller.hasEnded ? endOf(caller) : reason
    } finally {
      caller.signal.removeEventListener('abort', stop)
      // What comes next on this connection must not be stopped instead.
      await stopped?.catch(reason => {
        broken = reason
      })
      client.release(broken)
    }
  }

  /** Has the server end the statement of a connection. */
  async #stop(client: pg.PoolClient): Promise<void> {
    this.#stops ??= this.#open(1)
    const { processID } = client as unknown as { processID: number }
    await this.#stops.query({ text: 'SELECT pg_cancel_backend($1)', values: [processID], query_timeout: STOP_TIMEOUT_MS } as pg.QueryConfig)
  }

  #executor(on: () => pg.Pool | pg.PoolClient): Executor {
    const send = async (query: Query) => {
      const pool = this.#pool
      try {
        return await on().query({
          text: query.sql,
          values: query.parameters as unknown[],
          types: query.wide ? exact : narrow,
          ...(query.name && { name: query.name }),
          ...(query.timeoutMs && { query_timeout: query.timeoutMs }),
        })
      } catch (reason) {
        throw query.timeoutMs ? translateError(reason, failureOf) : this.#failure(reason, pool)
      }
    }
    return {
      all: async <R>(query: CompiledQuery<R> | Query<R>) => (await send(query as Query)).rows as R[],
      get: async <R>(query: CompiledQuery<R> | Query<R>) => (await send(query as Query)).rows[0] as R | undefined,
      run: async query => (await send(query as Query)).rowCount ?? 0,
    }
  }

  /** The error that a caller gets. After one connection's silence the others of its pool are not used any more: they would be silent, too. */
  #failure(reason: unknown, pool: pg.Pool): unknown {
    const translated = translateError(reason, failureOf)
    this.#space.note(translated)
    if (isSilence(translated) && pool === this.#pool) {
      this.#pool = this.#open()
      pool.end().catch(() => {})
    }
    return translated
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
    await this.#stops?.end()
  }
}

const ignore = () => undefined

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect()
  } catch (reason) {
    throw translateError(reason, failureOf)
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
