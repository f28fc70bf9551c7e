import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { type PageJob, type PageRead, type Slices, type Statement, slice } from '../../shapes/slices.ts'

/** Shapes of searches are few; what a client makes up anew each time must not fill the memory. */
const STATEMENTS_MAX = 200

/** A check for every so many rows of a long statement, some milliseconds. */
const CHECKED_ROWS = 1_000

/** Reads of one SQLite connection. Statements are prepared once per text. */
export class SqliteStatements {
  readonly #database: DatabaseSync
  readonly #beforePage: () => void
  readonly #prepared = new Map<string, StatementSync>()

  /** @param beforePage runs in the transaction of each page before its first statement. */
  constructor(database: DatabaseSync, beforePage: () => void = () => {}) {
    this.#database = database
    this.#beforePage = beforePage
  }

  all({ sql, parameters }: Statement): unknown[][] {
    return this.#prepare(sql).all(...(parameters as SQLInputValue[])) as unknown as unknown[][]
  }

  texts(statement: Statement): string[] {
    return this.all(statement).map(row => row[0] as string)
  }

  /** @param check called now and then; what it throws ends the read. */
  rows(statement: Statement, check: () => void = () => {}): Slices {
    return slice(statement.long ? this.#each(statement, check) : this.texts(statement))
  }

  *#each({ sql, parameters }: Statement, check: () => void): Generator<string> {
    let rows = 0
    for (const row of this.#prepare(sql).iterate(...(parameters as SQLInputValue[]))) {
      if (++rows % CHECKED_ROWS === 0) check()
      yield (row as unknown as [string])[0]
    }
  }

  /** All statements of a page see one state of the database. */
  page({ ids, pageSize, follow }: PageJob, check: () => void = () => {}): PageRead {
    this.#database.exec('BEGIN')
    try {
      this.#beforePage()
      const found = this.all(ids) as [string, string | null][]
      const page = found.slice(0, pageSize)
      const parameters = [JSON.stringify(page.map(row => row[0]))]
      const read = (sql: string) => {
        check()
        return this.rows({ sql, parameters })
      }
      const parts = follow.map(({ sql }) => (page.length === 0 ? [] : read(sql)))
      return { ids: page, more: found.length > pageSize, parts }
    } finally {
      this.#database.exec('COMMIT')
    }
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#prepared.get(sql)
    if (statement) return statement
    if (this.#prepared.size >= STATEMENTS_MAX) this.#prepared.delete(this.#prepared.keys().next().value as string)
    statement = this.#database.prepare(sql)
    statement.setReturnArrays(true)
    this.#prepared.set(sql, statement)
    return statement
  }
}
