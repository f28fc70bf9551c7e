import { type JsonWords, jsonValue } from '../../shapes/json-words.ts'

const MAX_SAFE = Number.MAX_SAFE_INTEGER

export const SQLITE_JSON: JsonWords = {
  pageIds: '(SELECT value AS id FROM json_each(?))',
  array: (...values) => `json_array(${values.join(', ')})`,
  integer: column => `CASE WHEN ${column} BETWEEN ${-MAX_SAFE} AND ${MAX_SAFE} THEN ${column} ELSE CAST(${column} AS TEXT) END`,
  list: (row, orderBy) => `json_group_array(${row}${orderBy ? ` ORDER BY ${orderBy}` : ''})`,
  rows: (row, from, orderBy) => `(SELECT ${SQLITE_JSON.list(row, orderBy)} ${from})`,
  columns: (columns, from) =>
    `(SELECT '[' || ${columns.map(column => `json_group_array(${jsonValue(column, SQLITE_JSON)})`).join(" || ',' || ")} || ']' ${from})`,
  nested: value => `json(${value})`,
  byId: ({ table, key }, columns) => `SELECT ${columns} FROM ${table} WHERE ${key} = ?`,
  bytes: column => column,
  text: (...values) => `'[' || ${values.join(" || ',' || ")} || ']'`,
  asText: json => json,
}
