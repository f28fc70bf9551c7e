import type { DatabaseSync } from 'node:sqlite'
import type { Caller } from '@millrace/kit/call-context'
import { MlflowError } from '@millrace/kit/errors'
import { translateError } from '../../db/errors.ts'
import { retrying } from '../../db/retry.ts'
import { type Entry, GroupedCalls, WRITTEN_ROWS_MAX } from '../../grouped-calls.ts'
import { type RunOp, weighRunOp } from '../../runs/groups.ts'
import type { LogEntry, NewRun, RunChange, RunRow, RunWrites } from '../../runs/writes.ts'
import type { SqliteDatabase } from './database.ts'
import { failureOf } from './errors.ts'
import { SqliteRunStatements } from './run-statements.ts'

type Result = string | RunRow | undefined
type Outcome = { result: Result; failure?: undefined } | { failure: MlflowError }

/** All of a group in one transaction of the writing connection. */
export class SqliteRunWrites implements RunWrites {
  readonly #db: SqliteDatabase
  readonly #group: GroupedCalls<RunOp, Result>
  #statements: SqliteRunStatements | undefined

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#group = new GroupedCalls({ send: group => this.#write(group), weigh: weighRunOp, weightMax: WRITTEN_ROWS_MAX })
  }

  async log(log: LogEntry, caller?: Caller): Promise<void> {
    await this.#group.submit({ log }, caller)
  }

  create(create: NewRun, caller?: Caller): Promise<string> {
    return this.#group.submit({ create }, caller) as Promise<string>
  }

  update(change: RunChange, caller?: Caller): Promise<RunRow> {
    return this.#group.submit({ change }, caller) as Promise<RunRow>
  }

  async #write(group: readonly Entry<RunOp, Result>[]): Promise<void> {
    const outcomes = await this.#commit(group)
    for (let i = 0; i < group.length; i++) {
      const outcome = outcomes[i] as Outcome
      if (outcome.failure) group[i]?.reject(outcome.failure)
      else group[i]?.resolve(outcome.result)
    }
  }

  /** @throws what the database throws, with nothing written; a refused entry is an outcome. */
  #commit(group: readonly Entry<RunOp, Result>[]): Promise<Outcome[]> {
    return retrying(() => this.#db.exclusive(writer => this.#transact(writer, group)))
  }

  #transact(writer: DatabaseSync, group: readonly Entry<RunOp, Result>[]): Outcome[] {
    this.#statements ??= new SqliteRunStatements(writer)
    const statements = this.#statements
    try {
      writer.exec('BEGIN IMMEDIATE')
      statements.begin()
      const outcomes = group.map(({ op }) => attempt(statements, op))
      writer.exec('COMMIT')
      return outcomes
    } catch (reason) {
      if (writer.isTransaction) writer.exec('ROLLBACK')
      throw translateError(reason, failureOf)
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#group[Symbol.asyncDispose]()
  }
}

function attempt(statements: SqliteRunStatements, op: RunOp): Outcome {
  try {
    if (op.create) return { result: statements.create(op.create) }
    return { result: op.change ? statements.update(op.change) : statements.log(op.log) }
  } catch (reason) {
    if (reason instanceof MlflowError) return { failure: reason }
    throw reason
  }
}
