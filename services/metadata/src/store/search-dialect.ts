import { type RawBuilder, sql } from 'kysely'

export type Fragment = RawBuilder<unknown>

/** A column of a table; a real one is null where `isNan` holds. */
export type ColumnSource = { text: string } | { integer: string } | { real: string; isNan: string }

/** What the databases write differently in reads. Text compares and sorts by code point on every one. */
export interface SearchDialect {
  like(column: Fragment, pattern: string, caseSensitive: boolean): Fragment
  oneOf(column: Fragment, values: readonly string[]): Fragment
  oneOfIds(column: Fragment, values: readonly bigint[]): Fragment
  /** A column of text as a term of ORDER BY. */
  textOrder(column: Fragment): Fragment
  real(value: number): Fragment
  /** Source of one row `id` for each id of the first parameter, a JSON list. */
  pageIds: string
  /** Rows of `id` and its place `n` in the list. */
  numberedIds(ids: readonly string[]): Fragment
  jsonArray(...values: string[]): string
  /** An aggregate: one JSON array of each row's `row`. */
  jsonList(row: string, orderBy?: string): string
  /** One JSON array of all rows' `row`, an array when there are none. */
  jsonRows(row: string, from: string, orderBy?: string): string
  /** One JSON array, for `jsonText`, with an array of each column's values; PostgreSQL has null for an empty one. */
  jsonColumns(columns: readonly ColumnSource[], from: string): string
  /**
   * Where one pass over a table is cheaper than a look for each run: a statement that takes a page's ids and answers a row per some of its
   * runs, a JSON array of the columns' values; the first column is the run's place in the page, from 1.
   */
  pageColumns?: (columns: readonly ColumnSource[], table: string) => string
  /**
   * Where one text for many points is cheaper than one for each: the ordered rows of `points` (`value`, `timestamp`, `step`, `is_nan` and
   * with `withRun` also `run_uuid`) as rows of `json`, each the columns of some hundred points. The value of NaN is null; the run ids are last.
   */
  pointColumns?: (points: Fragment, withRun: boolean) => Fragment
  /** A JSON value made by another expression, as an element of an array. */
  json(value: string): string
  /** `columns` of the run `r` with the id that is the first parameter; for a list of ids, rows of `id` and the columns. */
  runsById(columns: string): string
  /** An integer as a JSON number, or as text where a double could not hold it. */
  jsonInteger(column: string): string
  /** `textOrder` in SQL that is text. */
  byBytes(column: string): string
  /** Orders rows as they were inserted. */
  inserted(table: string): string
  /** JSON values, none of them SQL's null, as the text of one JSON array, a result column. */
  jsonText(...values: string[]): string
  /** One JSON value as a result column. */
  asText(json: string): string
  /** A join that reads its tables in the order in which they are written, where the database lets us say so. */
  join: string
  /** The runs `r` of some experiments: what stands after FROM, a condition, and the start time to sort by. */
  runsOf(experimentIds: readonly bigint[]): { from: Fragment; where: Fragment; startTime: Fragment }
}

const MAX_SAFE = Number.MAX_SAFE_INTEGER

function jsonValue(column: ColumnSource): string {
  if ('text' in column) return column.text
  if ('real' in column) return `CASE WHEN ${column.isNan} THEN NULL ELSE ${column.real} END`
  return SQLITE.jsonInteger(column.integer)
}

export const SQLITE: SearchDialect = {
  like: (column, pattern, caseSensitive) => (caseSensitive ? sql`${column} LIKE ${pattern}` : sql`lower(${column}) LIKE lower(${pattern})`),
  oneOf: (column, values) => sql`${column} IN (SELECT value FROM json_each(${JSON.stringify(values)}))`,
  oneOfIds: (column, values) =>
    values.length === 1 ? sql`${column} = ${values[0]}` : sql`${column} IN (SELECT value FROM json_each(${`[${values.join()}]`}))`,
  textOrder: column => column,
  real: value => sql`${value}`,
  pageIds: '(SELECT value AS id FROM json_each(?))',
  numberedIds: ids => sql`(SELECT key AS n, value AS id FROM json_each(${JSON.stringify(ids)}))`,
  jsonArray: (...values) => `json_array(${values.join(', ')})`,
  jsonList: (row, orderBy) => `json_group_array(${row}${orderBy ? ` ORDER BY ${orderBy}` : ''})`,
  jsonRows: (row, from, orderBy) => `(SELECT ${SQLITE.jsonList(row, orderBy)} ${from})`,
  jsonColumns: (columns, from) =>
    `(SELECT '[' || ${columns.map(column => `json_group_array(${jsonValue(column)})`).join(" || ',' || ")} || ']' ${from})`,
  json: value => `json(${value})`,
  runsById: columns => `SELECT ${columns} FROM runs r WHERE r.run_uuid = ?`,
  jsonInteger: column => `CASE WHEN ${column} BETWEEN ${-MAX_SAFE} AND ${MAX_SAFE} THEN ${column} ELSE CAST(${column} AS TEXT) END`,
  byBytes: column => column,
  inserted: table => `${table}.rowid`,
  asText: json => json,
  jsonText: (...values) => `'[' || ${values.join(" || ',' || ")} || ']'`,
  join: 'CROSS JOIN',
  runsOf: ids => ({ from: sql`runs r`, where: SQLITE.oneOfIds(sql`r.experiment_id`, ids), startTime: sql`r.start_time` }),
}

/** For the connections of a ReadPool, which know the places of an experiment's runs. */
export const SQLITE_FILE: SearchDialect = {
  ...SQLITE,
  runsOf: ids => ({
    from: sql`run_places p CROSS JOIN runs r ON r.rowid = p.place`,
    where: sql`${SQLITE.oneOfIds(sql`p.experiment_id`, ids)} AND r.experiment_id = p.experiment_id`,
    startTime: sql`p.start_time`,
  }),
}

const POINTS_IN_ROW = 500

/** All values of a column as the text of a JSON array. PostgreSQL's own functions for JSON cost numbers twice as much. */
function jsonText(column: ColumnSource): string {
  if ('text' in column) return `json_agg(${column.text})::text`
  if ('real' in column) return `'[' || string_agg(CASE WHEN ${column.isNan} THEN 'null' ELSE ${column.real}::text END, ',') || ']'`
  const { integer } = column
  const exact = `CASE WHEN ${integer} BETWEEN ${-MAX_SAFE} AND ${MAX_SAFE} THEN ${integer}::text ELSE '"' || ${integer} || '"' END`
  return `'[' || string_agg(${exact}, ',') || ']'`
}

const jsonTexts = (columns: readonly ColumnSource[]) => `'[' || ${columns.map(jsonText).join(" || ',' || ")} || ']'`

export const POSTGRESQL: SearchDialect = {
  like: (column, pattern, caseSensitive) =>
    caseSensitive ? sql`${column} LIKE ${pattern} ESCAPE ''` : sql`${column} ILIKE ${pattern} ESCAPE ''`,
  oneOf: (column, values) => sql`${column} = ANY(${values}::text[])`,
  oneOfIds: (column, values) => sql`${column} = ANY(${values.map(String)}::bigint[])`,
  textOrder: column => sql`${column} COLLATE "C"`,
  real: value => sql`${value}::float8`,
  // As an array, since the planner takes the function's rows for a hundred, and would read a table of some thousand rows as a whole.
  pageIds: 'unnest(ARRAY(SELECT json_array_elements_text($1::json))) ids(id)',
  numberedIds: ids => sql`(SELECT n, id FROM unnest(${ids}::text[]) WITH ORDINALITY AS given(id, n))`,
  jsonArray: (...values) => `json_build_array(${values.join(', ')})`,
  jsonList: (row, orderBy) => `json_agg(${row}${orderBy ? ` ORDER BY ${orderBy}` : ''})`,
  jsonRows: (row, from, orderBy) => `coalesce((SELECT ${POSTGRESQL.jsonList(row, orderBy)} ${from}), '[]'::json)`,
  jsonColumns: (columns, from) => `(SELECT coalesce(${jsonTexts(columns)}, '[${columns.map(() => 'null').join()}]') ${from})`,
  // OFFSET 0 keeps the look for each run: a join would read all of a table that has not been analysed yet.
  pageColumns: (columns, table) =>
    `SELECT ${jsonTexts([{ integer: 'p.n' }, ...columns])} AS json ` +
    'FROM unnest(ARRAY(SELECT json_array_elements_text($1::json))) WITH ORDINALITY p (id, n) ' +
    `CROSS JOIN LATERAL (SELECT * FROM ${table} t WHERE t.run_uuid = p.id OFFSET 0) t GROUP BY p.n / 64`,
  json: value => value,
  // Behind a SELECT the planner can't count the ids, and keeps one plan for every count.
  runsById: columns =>
    `SELECT found.* FROM unnest((SELECT $1::text[])) given ` +
    `CROSS JOIN LATERAL (SELECT r.run_uuid AS id, ${columns} FROM runs r WHERE r.run_uuid = given OFFSET 0) found`,
  jsonInteger: column =>
    `CASE WHEN ${column} BETWEEN ${-MAX_SAFE} AND ${MAX_SAFE} THEN to_json(${column}) ELSE to_json(${column}::text) END`,
  pointColumns: (points, withRun) => {
    const columns: ColumnSource[] = [{ real: 'p.value', isNan: 'p.is_nan' }, { integer: 'p.timestamp' }, { integer: 'p.step' }]
    if (withRun) columns.push({ text: 'p.run_uuid' })
    // Sorted by the group, too: a sort by nothing else could change the order within it.
    return sql`SELECT ${sql.raw(jsonTexts(columns))} AS json FROM (
      SELECT n.*, n.place / ${sql.lit(POINTS_IN_ROW)} AS part FROM (SELECT m.*, ROW_NUMBER() OVER () - 1 AS place FROM (${points}) m) n
      ORDER BY part, place
    ) p GROUP BY part ORDER BY part`
  },
  byBytes: column => `${column} COLLATE "C"`,
  inserted: table => `${table}.ctid`,
  asText: json => `(${json})::text`,
  jsonText: (...values) => `concat('[', ${values.join(", ',', ")}, ']')`,
  join: 'JOIN',
  runsOf: ids => ({ from: sql`runs r`, where: POSTGRESQL.oneOfIds(sql`r.experiment_id`, ids), startTime: sql`r.start_time` }),
}
