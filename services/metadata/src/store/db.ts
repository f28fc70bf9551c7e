import type { Caller } from '@millrace/kit/call-context'
import type { CompiledQuery, Kysely } from 'kysely'
import type { DB } from '../../../../prisma/tracking/gen/tables.ts'
import type { Dialect, Fragment } from './dialects/dialect.ts'

export type { DB } from '../../../../prisma/tracking/gen/tables.ts'

/**
 * SQL with its parameters, in the words of one dialect: `db.kysely` builds it, `statement()` makes it again and again.
 * Without `wide` integers are numbers, and one beyond 2^53 fails the query; with it every integer of SQLite and every 64-bit
 * integer of PostgreSQL is a bigint.
 */
export interface Query<R = unknown> {
  readonly sql: string
  readonly parameters: readonly unknown[]
  readonly wide?: boolean
  /** Prepared once per connection under this name on PostgreSQL. SQLite keeps every statement prepared. */
  readonly name?: string
  /** How long PostgreSQL may be silent instead of the usual time. */
  readonly timeoutMs?: number
  readonly row?: R
}

/** @throws MlflowError BAD_REQUEST for a broken constraint (see db/errors.ts), TEMPORARILY_UNAVAILABLE when the database is out of reach. */
export interface Executor {
  all<R>(query: CompiledQuery<R> | Query<R>): Promise<R[]>
  get<R>(query: CompiledQuery<R> | Query<R>): Promise<R | undefined>
  /** The number of rows changed. */
  run(query: CompiledQuery<unknown> | Query): Promise<number>
}

/**
 * The tracking database. `all` and `get` read what is committed, on a connection that cannot write; `run` writes in a transaction
 * of its own.
 */
export interface Database extends Executor, AsyncDisposable {
  readonly dialect: Dialect
  /** @param caller without whom the read is of no use: it is not begun, or ends early where the database can be told. */
  all<R>(query: CompiledQuery<R> | Query<R>, caller?: Caller): Promise<R[]>
  /** @throws MlflowError TEMPORARILY_UNAVAILABLE when it is out of reach, or had no room for a write a moment ago. */
  ready(): Promise<void>
  /** Builds SQL; it cannot execute. */
  readonly kysely: Kysely<DB>
  /**
   * Commits durably when `work` resolves, rolls back when it throws. Serialization failures and deadlocks are retried, so `work`
   * must bear being run again. One at a time on SQLite: `work` must wait for nothing but `tx`.
   */
  transaction<T>(work: (tx: Executor) => Promise<T>): Promise<T>
}

/** Runs statements one after the other. @returns the number of rows changed. */
export async function runEach(tx: Executor, statements: readonly Fragment[], { kysely }: Database): Promise<number> {
  let changed = 0
  for (const statement of statements) changed += await tx.run(statement.compile(kysely))
  return changed
}

/** Like `runEach`, for statements of `insertGivingId`. */
export async function runGivingId(tx: Executor, statements: readonly Fragment[], db: Database): Promise<unknown> {
  await runEach(tx, statements.slice(0, -1), db)
  const last = statements.at(-1)?.compile(db.kysely) as CompiledQuery<{ id: unknown }> | undefined
  return last && (await tx.get(last))?.id
}

let statements = 0

/** A query that is run often with different parameters: compiled and named once. */
export function statement<R>(sql: string, options: { wide?: boolean } = {}): (...parameters: unknown[]) => Query<R> {
  const name = `millrace_${++statements}`
  const wide = options.wide ?? false
  return (...parameters) => ({ sql, parameters, wide, name })
}

/** `query` with 64-bit integers as bigints. */
export function wide<R>(query: CompiledQuery<R> | Query<R>): Query<R> {
  return { sql: query.sql, parameters: query.parameters, wide: true }
}
