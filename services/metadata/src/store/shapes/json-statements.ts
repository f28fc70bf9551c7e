import { sql } from 'kysely'
import type { Dialect, Fragment } from '../dialects/dialect.ts'
import { type JsonWords, jsonValue } from './json-words.ts'
import type { Children, Column, Shape } from './shape.ts'

/** The statements that read a shape; they answer rows of a JSON text. */
export interface JsonStatements {
  /** Whole records, by id. */
  one: string
  /** The others but `list` take the ids of a page, a JSON list. These are records without their few children. */
  records: string
  /** Where `records` answers without them: the page's children as columns, with the parent's place in it as the first. */
  columns: readonly string[]
  few: readonly string[]
}

/**
 * The database makes the JSON: a page of 1,000 runs with 26 values each comes as 1,000 texts, in 12 ms on SQLite, and a text moves
 * between threads for the price of a copy, where 26,000 rows cost more to hand over than to read. Columns instead of rows of values
 * are a third cheaper to make for PostgreSQL and a quarter cheaper to parse.
 */
export function jsonStatements(shape: Shape, d: Dialect, j: JsonWords): JsonStatements {
  const info = row(shape.columns, j)
  const few = shape.children.filter(child => child.as === 'few')
  const apart = j.pageColumns ? shape.children.filter(child => child.as === 'columns') : []
  const inline = shape.children.filter(child => child.as !== 'few' && !apart.includes(child))
  const ids = `${j.pageIds} ${d.join}`
  const inlined = inline.map(child => ofParent(child, shape.key, d, j))
  return {
    one: j.byId(shape, `${j.text(info, ...shape.children.map(child => ofParent(child, shape.key, d, j)))} AS json`),
    records: `SELECT ${apart.length > 0 && inlined.length === 0 ? j.asText(info) : j.text(info, ...inlined)} AS json FROM ${ids} ${shape.table} ON ${shape.key} = id`,
    columns: apart.flatMap(({ columns, table, parent }) => j.pageColumns?.(columns, table, parent) ?? []),
    few: few.map(child => {
      const { table, join = '', columns, children } = child
      const values = row(columns, j)
      const json = children ? j.text(values, ofParent({ ...children, as: 'rows' }, children.of, d, j)) : j.asText(values)
      return `SELECT ${json} AS json FROM ${ids} ${table} ON ${conditions(child, 'id')} ${join} ORDER BY ${orderOf(child, d, j)}`
    }),
  }
}

/** All records whose ids a SELECT answers, in one statement. A table of children is read once, however they are indexed. */
export function jsonList(shape: Shape, ids: Fragment, d: Dialect, j: JsonWords): Fragment {
  const lists = shape.children.map((child, i) => {
    const list = j.list(row(child.columns, j), orderOf(child, d, j))
    const from = `FROM ${child.table} WHERE ${child.parent} IN (SELECT id FROM page) GROUP BY ${child.parent}`
    return sql`, ${sql.raw(`c${i} AS (SELECT ${child.parent} AS id, ${list} AS list ${from})`)}`
  })
  const values = j.text(row(shape.columns, j), ...shape.children.map((_, i) => `coalesce(c${i}.list, '[]')`))
  const joins = shape.children.map((_, i) => `LEFT JOIN c${i} ON c${i}.id = page.id`).join(' ')
  return sql`WITH page AS (SELECT p.id, ROW_NUMBER() OVER () AS place FROM (${ids}) p)${sql.join(lists, sql``)}
    ${sql.raw(`SELECT ${values} AS json FROM page JOIN ${shape.table} ON ${shape.key} = page.id ${joins} ORDER BY page.place`)}`
}

/** Rows of a SELECT, each a JSON text. */
export const jsonRows = (select: Fragment, columns: readonly Column[], j: JsonWords): Fragment =>
  sql`SELECT ${sql.raw(j.asText(row(columns, j)))} AS json FROM (${select}) m`

const row = (columns: readonly Column[], j: JsonWords) => j.array(...columns.map(column => jsonValue(column, j)))

const conditions = ({ where, parent }: Pick<Children, 'where' | 'parent'>, id: string) =>
  [where, `${parent} = ${id}`].filter(condition => condition !== undefined).join(' AND ')

function orderOf({ order }: Pick<Children, 'order'>, d: Dialect, j: JsonWords): string | undefined {
  if (!order) return undefined
  return 'bytes' in order ? j.bytes(order.bytes) : d.insertionOrder && `${order.inserted}.${d.insertionOrder}`
}

/** The children of one parent as a JSON array. */
function ofParent(child: Children, id: string, d: Dialect, j: JsonWords): string {
  const { table, join = '', columns, as, children } = child
  const from = `FROM ${table} ${join} WHERE ${conditions(child, id)}`
  if (as === 'columns') return j.columns(columns, from)
  const values = row(columns, j)
  const json = children ? j.array(values, j.nested(ofParent({ ...children, as: 'rows' }, children.of, d, j))) : values
  return j.rows(json, from, orderOf(child, d, j))
}
