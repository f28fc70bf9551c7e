import { setImmediate as pause } from 'node:timers/promises'
import type { Query } from './db.ts'

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
