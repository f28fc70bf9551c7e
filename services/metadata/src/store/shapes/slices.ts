import { setImmediate as pause } from 'node:timers/promises'
import type { Caller } from '@millrace/kit/call-context'
import type { Database, Query } from '../db.ts'

export interface Statement extends Pick<Query, 'sql' | 'parameters' | 'name'> {
  /** So many rows that SQLite should not hand them over all at once. */
  readonly long?: boolean
}

/**
 * A read in two steps on one connection: the ids of a page, then what belongs to those ids.
 * `ids` answers rows of [id, sort key]; every statement of `follow` takes the ids as its only parameter and answers one text per row, `json`.
 */
export interface PageJob {
  ids: Statement
  /** Rows of `ids` that are the page; one more shows that another page follows. */
  pageSize: number
  follow: readonly Pick<Query, 'sql' | 'name'>[]
}

/** Rows as JSON arrays of at most `SLICE_ROWS_MAX` rows each, so that nobody has to parse a big answer in one go. */
export type Slices = readonly string[]

export interface PageRead {
  /** Rows of [id, sort key] in order. */
  ids: readonly (readonly [id: string, sortKey: string | null])[]
  more: boolean
  /** One entry per statement of the job's `follow`. */
  parts: readonly Slices[]
}

/** 100 runs with 26 values each are 80 kB of JSON, half a millisecond to parse. */
export const SLICE_ROWS_MAX = 100

/** Parsed in half a millisecond, too. */
const SLICE_CHARACTERS = 128 * 1024

export function slice(rows: Iterable<string>): string[] {
  const slices: string[] = []
  let part: string[] = []
  let characters = 0
  const end = () => {
    slices.push(`[${part.join()}]`)
    part = []
    characters = 0
  }
  for (const row of rows) {
    characters += row.length
    part.push(row)
    if (part.length === SLICE_ROWS_MAX || characters >= SLICE_CHARACTERS) end()
  }
  if (part.length > 0) end()
  return slices
}

/** Parses slices one by one and lets other work run between them. */
export async function* parsed<T>(slices: Slices): AsyncGenerator<T[]> {
  let first = true
  for (const text of slices) {
    if (!first) await pause()
    first = false
    yield JSON.parse(text) as T[]
  }
}

/** Reads what belongs to an id: the column `json` of its row, undefined when there is none. */
export type Lookup = (id: string, caller?: Caller) => Promise<string | undefined>

/** The column `json` of a statement's rows. */
export async function readTexts(db: Database, statement: Statement, caller?: Caller): Promise<string[]> {
  return (await db.all<{ json: string }>(statement, caller)).map(row => row.json)
}

export async function readPage(db: Database, { ids, pageSize, follow }: PageJob, caller?: Caller): Promise<PageRead> {
  const found = await db.all<{ id: string; sort_key: string | null }>(ids, caller)
  const page = found.slice(0, pageSize)
  const parameters = [JSON.stringify(page.map(row => row.id))]
  const parts: Slices[] = follow.map(() => [])
  // One after the other: side by side they would take a page's time from everybody who writes.
  if (page.length > 0)
    for (const [i, { sql, name }] of follow.entries()) parts[i] = slice(await readTexts(db, { sql, name, parameters }, caller))
  return { ids: page.map(row => [row.id, row.sort_key] as const), more: found.length > pageSize, parts }
}
