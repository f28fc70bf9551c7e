import type { DatabaseSync } from 'node:sqlite'
import type { Caller } from '@millrace/kit/call-context'
import { MlflowError } from '@millrace/kit/errors'
import { translateError } from '../../db/errors.ts'
import { retrying } from '../../db/retry.ts'
import type { SqliteDatabase } from '../../db.ts'
import { type Entry, GroupedCalls, writtenRowsMax } from '../../grouped-calls.ts'
import type { LogEntry, NewRun, RunChange, RunRow, RunWrites } from '../../runs/writes.ts'
import { SqliteRunStatements } from './run-statements.ts'

type Op =
  | { log: LogEntry; create?: undefined; update?: undefined }
  | { create: NewRun; update?: undefined }
  | { update: RunChange; create?: undefined }
type Result = string | RunRow | undefined
type Outcome = { result: Result; failure?: undefined } | { failure: MlflowError }

/** All of a group in one transaction of the writing connection. */
export class SqliteRunWrites implements RunWrites {
  readonly #db: SqliteDatabase
  readonly #group: GroupedCalls<Op, Result>
  #statements: SqliteRunStatements | undefined

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#group = new GroupedCalls({ send: group => this.#write(group), weigh, weightMax: writtenRowsMax })
  }

  async log(log: LogEntry, caller?: Caller): Promise<void> {
    await this.#group.submit({ log }, caller)
  }

  create(create: NewRun, caller?: Caller): Promise<string> {
    return this.#group.submit({ create }, caller) as Promise<string>
  }

  update(update: RunChange, caller?: Caller): Promise<RunRow> {
    return this.#group.submit({ update }, caller) as Promise<RunRow>
  }

  async #write(group: readonly Entry<Op, Result>[]): Promise<void> {
    const outcomes = await this.#commit(group)
    for (let i = 0; i < group.length; i++) {
      const outcome = outcomes[i] as Outcome
      if (outcome.failure) group[i]?.reject(outcome.failure)
      else group[i]?.resolve(outcome.result)
    }
  }

  /** @throws what the database throws, with nothing written; a refused entry is an outcome. */
  #commit(group: readonly Entry<Op, Result>[]): Promise<Outcome[]> {
    return retrying(() => this.#db.exclusive(writer => this.#transact(writer, group)))
  }

  #transact(writer: DatabaseSync, group: readonly Entry<Op, Result>[]): Outcome[] {
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
      throw translateError(reason)
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#group[Symbol.asyncDispose]()
  }
}

function weigh(op: Op): number {
  if ('log' in op) return op.log.metrics.length + op.log.params.length + op.log.tags.length
  return op.create ? op.create.tags.length + 1 : 1
}

function attempt(statements: SqliteRunStatements, op: Op): Outcome {
  try {
    if ('log' in op) return { result: statements.log(op.log) }
    return { result: op.create ? statements.create(op.create) : statements.update(op.update) }
  } catch (reason) {
    if (reason instanceof MlflowError) return { failure: reason }
    throw reason
  }
}
