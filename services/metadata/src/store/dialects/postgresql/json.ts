import { sql } from 'kysely'
import type { JsonWords } from '../../shapes/json-words.ts'
import type { Column } from '../../shapes/shape.ts'

const MAX_SAFE = Number.MAX_SAFE_INTEGER
const ROWS_IN_BLOCK = 500

/** All values of a column as the text of a JSON array. PostgreSQL's own functions for JSON cost numbers twice as much. */
function valuesText(column: Column): string {
  if (typeof column === 'string') return `json_agg(${column})::text`
  if ('real' in column) return `'[' || string_agg(CASE WHEN ${column.isNan} THEN 'null' ELSE ${column.real}::text END, ',') || ']'`
  const { integer } = column
  const exact = `CASE WHEN ${integer} BETWEEN ${-MAX_SAFE} AND ${MAX_SAFE} THEN ${integer}::text ELSE '"' || ${integer} || '"' END`
  return `'[' || string_agg(${exact}, ',') || ']'`
}

const columnsText = (columns: readonly Column[]) => `'[' || ${columns.map(valuesText).join(" || ',' || ")} || ']'`

export const POSTGRESQL_JSON: JsonWords = {
  // As an array, since the planner takes the function's rows for a hundred, and would read a table of some thousand rows as a whole.
  pageIds: 'unnest(ARRAY(SELECT json_array_elements_text($1::json))) ids(id)',
  array: (...values) => `json_build_array(${values.join(', ')})`,
  integer: column => `CASE WHEN ${column} BETWEEN ${-MAX_SAFE} AND ${MAX_SAFE} THEN to_json(${column}) ELSE to_json(${column}::text) END`,
  list: (row, orderBy) => `json_agg(${row}${orderBy ? ` ORDER BY ${orderBy}` : ''})`,
  rows: (row, from, orderBy) => `coalesce((SELECT ${POSTGRESQL_JSON.list(row, orderBy)} ${from}), '[]'::json)`,
  columns: (columns, from) => `(SELECT coalesce(${columnsText(columns)}, '[${columns.map(() => 'null').join()}]') ${from})`,
  // OFFSET 0 keeps the look for each run: a join would read all of a table that has not been analysed yet.
  pageColumns: (columns, table, parent) =>
    `SELECT ${columnsText([{ integer: 'p.n' }, ...columns])} AS json ` +
    'FROM unnest(ARRAY(SELECT json_array_elements_text($1::json))) WITH ORDINALITY p (id, n) ' +
    `CROSS JOIN LATERAL (SELECT * FROM ${table} WHERE ${parent} = p.id OFFSET 0) t GROUP BY p.n / 64`,
  // Sorted by the group, too: a sort by nothing else could change the order within it.
  blocks: (select, columns) => sql`SELECT ${sql.raw(columnsText(columns))} AS json FROM (
      SELECT n.*, n.place / ${sql.lit(ROWS_IN_BLOCK)} AS part FROM (SELECT s.*, ROW_NUMBER() OVER () - 1 AS place FROM (${select}) s) n
      ORDER BY part, place
    ) m GROUP BY part ORDER BY part`,
  nested: value => value,
  // Behind a SELECT the planner can't count the ids, and keeps one plan for every count.
  byId: ({ table, key }, columns) =>
    `SELECT found.* FROM unnest((SELECT $1::text[])) given ` +
    `CROSS JOIN LATERAL (SELECT ${key} AS id, ${columns} FROM ${table} WHERE ${key} = given OFFSET 0) found`,
  bytes: column => `${column} COLLATE "C"`,
  text: (...values) => `concat('[', ${values.join(", ',', ")}, ']')`,
  asText: json => `(${json})::text`,
}
