import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { type Caller, throwIfEnded } from '@millrace/kit/call-context'
import { type CompiledQuery, DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely'
import { translateError } from '../../db/errors.ts'
import { FreeSpace } from '../../db/readiness.ts'
import { retrying } from '../../db/retry.ts'
import { checkRevision, headSchema } from '../../db/revision.ts'
import type { Database, DB, Executor, Query } from '../../db.ts'
import { connectReader, connectWriter } from './connection.ts'
import { SQLITE } from './dialect.ts'
import { failureOf } from './errors.ts'

export interface SqliteDatabase extends Database {
  /** Absolute path of the file; undefined for a database in memory. */
  readonly path: string | undefined
  /** Runs `work` while nobody else in this process writes; `writer` is not in a transaction. */
  exclusive<T>(work: (writer: DatabaseSync) => T): Promise<T>
}

const STATEMENTS_MAX = 500

/** Before anything is translated: an operator reads the driver's own words when a database can't be opened. */
const isBusy = (reason: unknown) => reason instanceof Error && failureOf(reason) === 'again'

/** One writing connection, first come first served, and one that only reads. */
export async function openSqlite(path: string | undefined): Promise<SqliteDatabase> {
  if (path) await mkdir(dirname(path), { recursive: true })
  await using stack = new AsyncDisposableStack()
  const writer = await retrying(async () => {
    const opened = connectWriter(path ?? ':memory:')
    stack.defer(() => opened.close())
    return opened
  }, isBusy)
  const sql = await headSchema('sqlite')
  await retrying(async () => createSchema(writer, sql), isBusy)
  const reader = path ? connectReader(path) : writer
  stack.move()
  return new Sqlite(path, writer, reader)
}

function createSchema(db: DatabaseSync, sql: string): void {
  try {
    db.exec('BEGIN IMMEDIATE')
    const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('alembic_version', 'experiments')").all()
    if (tables.length === 0) db.exec(sql)
    const known = tables.length === 0 || tables.some(t => t.name === 'alembic_version')
    checkRevision(known ? (db.prepare('SELECT version_num FROM alembic_version').get()?.version_num as string | undefined) : undefined)
    db.exec('COMMIT')
  } catch (reason) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw reason
  }
}

class Sqlite implements SqliteDatabase {
  readonly dialect = SQLITE
  readonly path: string | undefined
  readonly kysely = new Kysely<DB>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: db => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  })
  readonly #writer: DatabaseSync
  readonly #reader: DatabaseSync
  readonly #reads: Executor
  readonly #writes: Executor
  readonly #space = new FreeSpace()
  #tail: Promise<unknown> = Promise.resolve()

  constructor(path: string | undefined, writer: DatabaseSync, reader: DatabaseSync) {
    this.path = path
    this.#writer = writer
    this.#reader = reader
    this.#reads = executor(reader)
    this.#writes = reader === writer ? this.#reads : executor(writer)
  }

  async ready(): Promise<void> {
    await this.get({ sql: 'SELECT 1', parameters: [] })
    this.#space.check()
  }

  async all<R>(query: CompiledQuery<R> | Query<R>, caller?: Caller): Promise<R[]> {
    throwIfEnded(caller)
    return this.#reads.all(query)
  }

  get<R>(query: CompiledQuery<R> | Query<R>): Promise<R | undefined> {
    return this.#reads.get(query)
  }

  run(query: CompiledQuery<unknown> | Query): Promise<number> {
    return this.transaction(tx => tx.run(query))
  }

  transaction<T>(work: (tx: Executor) => Promise<T>): Promise<T> {
    return this.#queue(() =>
      retrying(async () => {
        try {
          this.#writer.exec('BEGIN IMMEDIATE')
          const result = await work(this.#writes)
          this.#writer.exec('COMMIT')
          return result
        } catch (reason) {
          if (this.#writer.isTransaction) this.#writer.exec('ROLLBACK')
          throw translateError(reason, failureOf)
        }
      }),
    )
  }

  exclusive<T>(work: (writer: DatabaseSync) => T): Promise<T> {
    return this.#queue(async () => work(this.#writer))
  }

  #queue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work, work)
    this.#tail = result.then(
      () => this.#space.clear(),
      reason => this.#space.note(reason),
    )
    return result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tail
    if (this.#reader !== this.#writer) this.#reader.close()
    this.#writer.close()
  }
}

type Bindable = SQLInputValue[]

function executor(db: DatabaseSync): Executor {
  const cached = [new Map<string, StatementSync>(), new Map<string, StatementSync>()] as const
  const prepare = ({ sql, wide }: Query) => {
    const cache = cached[wide ? 1 : 0]
    let found = cache.get(sql)
    if (found) return found
    found = db.prepare(sql)
    if (wide) found.setReadBigInts(true)
    if (cache.size >= STATEMENTS_MAX) cache.delete(cache.keys().next().value as string)
    cache.set(sql, found)
    return found
  }
  const attempt = async <T>(query: Query, use: (statement: StatementSync, parameters: Bindable) => T): Promise<T> => {
    try {
      return use(prepare(query), bindable(query.parameters))
    } catch (reason) {
      throw translateError(reason, failureOf)
    }
  }
  return {
    all: <R>(query: CompiledQuery<R> | Query<R>) => attempt(query as Query, (s, p) => s.all(...p) as R[]),
    get: <R>(query: CompiledQuery<R> | Query<R>) => attempt(query as Query, (s, p) => s.get(...p) as R | undefined),
    run: query => attempt(query as Query, (s, p) => Number(s.run(...p).changes)),
  }
}

function bindable(parameters: readonly unknown[]): Bindable {
  return parameters.map(p => (p === undefined ? null : typeof p === 'boolean' ? (p ? 1 : 0) : (p as SQLInputValue)))
}
