import { setImmediate as pause } from 'node:timers/promises'
import type { AnyDatabase, Query } from './db.ts'
import { ReadPool } from './read-pool.ts'
import { type Fragment, POSTGRESQL, type SearchDialect, SQLITE } from './search-dialect.ts'

export type Statement = Pick<Query, 'sql' | 'parameters' | 'name'>

/**
 * A read in two steps on one connection: the ids of a page, then what belongs to those ids.
 * `ids` answers rows of [id, sort key]; every statement of `follow` takes the ids as its only parameter and answers one text per row, `json`.
 */
export interface PageJob {
  ids: Statement
  /** Rows of `ids` that are the page; one more shows that another page follows. */
  pageSize: number
  follow: readonly string[]
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

/** How stores read. Long reads never run on the thread that serves requests. */
export interface Reads extends AsyncDisposable {
  readonly dialect: SearchDialect
  compile(fragment: Fragment): Statement
  /** The column `json` of a read that is short by nature. */
  texts(statement: Statement): Promise<string[]>
  /** The column `json` of a read that may be long. */
  rows(statement: Statement): Promise<Slices>
  page(job: PageJob): Promise<PageRead>
}

export function slice(rows: readonly string[]): string[] {
  const slices: string[] = []
  for (let at = 0; at < rows.length; at += SLICE_ROWS_MAX) slices.push(`[${rows.slice(at, at + SLICE_ROWS_MAX).join()}]`)
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

interface JsonRow {
  json: string
}

/** Reads of `db`: on SQLite those that may be long run on threads of their own, on PostgreSQL the server does the work. */
export function openReads(db: AnyDatabase): Reads {
  const pool = db.dialect === 'sqlite' && db.path ? new ReadPool({ path: db.path }) : undefined
  const texts = async (statement: Statement) => (await db.all<JsonRow>(statement)).map(row => row.json)
  const rows = async (statement: Statement) => slice(await texts(statement))
  return {
    dialect: db.dialect === 'sqlite' ? SQLITE : POSTGRESQL,
    compile: fragment => fragment.compile(db.kysely),
    texts,
    rows: statement => pool?.rows(statement) ?? rows(statement),
    page: job => pool?.page(job) ?? readPage(db, job, rows),
    async [Symbol.asyncDispose]() {
      await pool?.[Symbol.asyncDispose]()
    },
  }
}

async function readPage(db: AnyDatabase, { ids, pageSize, follow }: PageJob, rows: (s: Statement) => Promise<Slices>): Promise<PageRead> {
  const found = await db.all<{ id: string; sort_key: string | null }>(ids)
  const page = found.slice(0, pageSize)
  const parameters = [JSON.stringify(page.map(row => row.id))]
  const parts = page.length === 0 ? follow.map(() => []) : await Promise.all(follow.map(sql => rows({ sql, parameters })))
  return { ids: page.map(row => [row.id, row.sort_key] as const), more: found.length > pageSize, parts }
}

/** What the handlers of reads need of the service's context. */
export interface ReadContext {
  readonly db: AnyDatabase
  readonly reads: Reads
}
