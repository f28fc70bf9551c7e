import { sql } from 'kysely'
import type { Dialect, Fragment } from '../dialects/dialect.ts'

/**
 * PostgreSQL's planner takes time with the cube of the tables that share one id: 50 conditions as joins keep it busy for seconds, in this
 * form some milliseconds. SQLite joins 64 tables at most.
 */
const JOINED_MAX = 6

/**
 * The looks of one search into other tables, for each of its rows. The first are joins, which the database may do in the order it likes;
 * the others are expressions, done for the rows that the first have left.
 */
export class Looks {
  readonly joins: Fragment[] = []
  readonly #dialect: Dialect
  #count = 0

  constructor(dialect: Dialect) {
    this.#dialect = dialect
  }

  /** Counts a look. */
  #mayJoin(): boolean {
    return ++this.#count <= JOINED_MAX
  }

  /**
   * The one row of `table` that has the key, as `alias`.
   * @param join INNER leaves rows without one out.
   * @returns makes an expression of that row's columns one that may be used in the search.
   */
  row(table: Fragment, alias: string, key: string, join: string): (expression: Fragment) => Fragment {
    const name = sql.raw(alias)
    const on = sql`${name}.run_uuid = r.run_uuid AND ${name}."key" = ${key}`
    if (!this.#mayJoin()) return expression => sql`(SELECT ${expression} FROM ${table} ${name} WHERE ${on})`
    this.joins.push(sql`${sql.raw(join)} ${table} ${name} ON ${on}`)
    return expression => expression
  }

  /** @param from what stands after the columns of a SELECT. */
  exists(from: Fragment): Fragment {
    return this.#mayJoin() ? sql`EXISTS (SELECT 1 ${from})` : this.#dialect.existsValue(from)
  }
}
