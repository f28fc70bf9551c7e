import type { Fragment } from '../dialects/dialect.ts'
import type { Column, Shape } from './shape.ts'

/** What the databases write differently where they make JSON. Statements are texts; a page's ids are their only parameter. */
export interface JsonWords {
  /** Source of one row `id` for each id of the parameter, a JSON list. */
  readonly pageIds: string
  array(...values: string[]): string
  /** An integer as a JSON number, or as text where a double could not hold it. */
  integer(column: string): string
  /** An aggregate: one JSON array of each row's `row`. */
  list(row: string, orderBy?: string): string
  /** One JSON array of all rows' `row`, an array when there are none. */
  rows(row: string, from: string, orderBy?: string): string
  /** One JSON array, for `text`, with an array of each column's values, or null for it where there are none. */
  columns(columns: readonly Column[], from: string): string
  /**
   * Where one pass over a table is cheaper than a look for each parent: a statement that takes a page's ids and answers a row per some of
   * its parents, a JSON array of the columns' values; the first column is the parent's place in the page, from 1.
   */
  pageColumns?(columns: readonly Column[], table: string, parent: string): string
  /** Where one text for many rows is cheaper than one for each: the ordered rows of a SELECT as rows of `json`, each the columns of some hundred. */
  blocks?(select: Fragment, columns: readonly Column[]): Fragment
  /** A JSON value made by another expression, as an element of an array. */
  nested(value: string): string
  /** `columns` of the row whose id is the parameter; for a list of ids, rows of `id` and the columns. */
  byId(shape: Shape, columns: string): string
  /** A column of text as a term of ORDER BY. */
  bytes(column: string): string
  /** JSON values, none of them SQL's null, as the text of one JSON array, a result column. */
  text(...values: string[]): string
  /** One JSON value as a result column. */
  asText(json: string): string
}

export function jsonValue(column: Column, j: JsonWords): string {
  if (typeof column === 'string') return column
  return 'integer' in column ? j.integer(column.integer) : `CASE WHEN ${column.isNan} THEN NULL ELSE ${column.real} END`
}
