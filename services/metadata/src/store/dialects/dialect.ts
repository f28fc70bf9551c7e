import type { RawBuilder } from 'kysely'
import type { FailureKind } from '../db/errors.ts'

export type Fragment = RawBuilder<unknown>

/** The databases that Millrace runs on: one Dialect each, in dialects/table.ts. */
export type DatabaseName = 'sqlite' | 'postgresql'

/** What the databases write differently in any statement. Text compares and sorts by code point on every one. */
export interface Words {
  /** Tells LIKE from ILIKE by `caseSensitive`; a pattern has no escape character. */
  like(column: Fragment, pattern: string, caseSensitive: boolean): Fragment
  equal(column: Fragment, text: string): Fragment
  oneOf(column: Fragment, values: readonly string[]): Fragment
  oneOfIds(column: Fragment, values: readonly bigint[]): Fragment
  /** A column of text as a term of ORDER BY. */
  textOrder(column: Fragment): Fragment
  /** A term of ORDER BY. */
  ordered(term: Fragment, ascending: boolean, nulls: 'first' | 'last'): Fragment
  /** The end of a SELECT with an ORDER BY; without a limit all rows after the offset. */
  page(limit: number | bigint | undefined, offset?: number): Fragment
  real(value: number): Fragment
  text(expression: Fragment): Fragment
  /** An integer of 64 bits. */
  integer(expression: Fragment): Fragment
  /** A column of booleans as a condition. */
  isTrue(column: Fragment): Fragment
  /** Whether there is a row, as an expression that the planner doesn't turn into a join. @param from what stands after the columns of a SELECT. */
  existsValue(from: Fragment): Fragment
  /** Rows of `id` and its place `n` in the list. */
  numberedIds(ids: readonly string[]): Fragment
  /** A join that reads its tables in the order in which they are written, where the database lets us say so. */
  readonly join: string
  /** A column of every table that rises in the order in which rows were inserted, where there is one. */
  readonly insertionOrder: string | undefined
  /**
   * Keeps the rows that a SELECT finds as they are until the end of the transaction: `hint` stands after the table, `end` at the end.
   * Whoever has the lock `change` is about to change them, and is alone; several may have `share`.
   */
  rowLock(strength: 'share' | 'change'): { hint: Fragment; end: Fragment }
  /** Deletes `count` rows at most. */
  deleteSome(table: string, where: Fragment, count: number): Fragment
}

export type Row = Readonly<Record<string, unknown>>

interface Upsert {
  table: string
  key: readonly string[]
  /** All of the same columns, with no key twice. */
  rows: readonly Row[]
  /** An existing row changes only when these columns of the new one are greater, the first counting most. */
  whenGreater?: readonly string[]
}

/** Writes as statements to be run one after the other, each small enough for the database; their counts of changed rows add up. */
export interface Writes {
  insert(table: string, rows: readonly Row[]): Fragment[]
  /** Existing rows get the new values. */
  upsert(upsert: Upsert): Fragment[]
  /** Existing rows stay as they are, and don't count. */
  insertNew(table: string, key: readonly string[], rows: readonly Row[]): Fragment[]
  /** The last statement answers `id`, the value that the database gave to the column. */
  insertGivingId(table: string, row: Row, column: string): Fragment[]
}

/** How one database's statements are written; it has no state. */
export interface Dialect extends Words, Writes {
  readonly name: DatabaseName
  /** What a driver's error means. */
  failureOf(reason: Error): FailureKind | undefined
}
