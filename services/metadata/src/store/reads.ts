import type { Caller } from '@millrace/kit/call-context'
import type { AnyDatabase } from './db.ts'
import { GroupedLookups, type Lookup } from './dialects/postgresql/lookups.ts'
import { PostgresStatistics } from './dialects/postgresql/statistics.ts'
import { ReadPool } from './dialects/sqlite/read-pool.ts'
import { type Fragment, POSTGRESQL, type SearchDialect, SQLITE, SQLITE_FILE } from './search-dialect.ts'
import { type PageJob, type PageRead, type Slices, type Statement, slice } from './slices.ts'

/** How stores read. Long reads never run on the thread that serves requests, and end when their caller has gone. */
export interface Reads extends AsyncDisposable {
  readonly dialect: SearchDialect
  compile(fragment: Fragment): Statement
  /** A read that is short by nature; its statement takes an id, on PostgreSQL a list of them. Closed with the reads. */
  lookup(statement: Pick<Statement, 'sql' | 'name'>): Lookup
  /** The column `json` of a read that may be long. */
  rows(statement: Statement, caller?: Caller): Promise<Slices>
  page(job: PageJob, caller?: Caller): Promise<PageRead>
}

interface JsonRow {
  json: string
}

/** Reads of `db`: on SQLite those that may be long run on threads of their own, on PostgreSQL the server does the work. */
export function openReads(db: AnyDatabase): Reads {
  const pool = db.dialect === 'sqlite' && db.path ? new ReadPool({ path: db.path }) : undefined
  const stack = new AsyncDisposableStack()
  const statistics = db.dialect === 'postgresql' ? stack.use(new PostgresStatistics(db)) : undefined
  const texts = async (statement: Statement, caller?: Caller) => (await db.all<JsonRow>(statement, caller)).map(row => row.json)
  const rows = async (statement: Statement, caller?: Caller) => slice(await texts(statement, caller))
  return {
    dialect: db.dialect === 'postgresql' ? POSTGRESQL : pool ? SQLITE_FILE : SQLITE,
    compile: fragment => fragment.compile(db.kysely),
    lookup(statement) {
      if (db.dialect === 'sqlite') return async id => (await texts({ ...statement, parameters: [id] }))[0]
      const grouped = stack.use(new GroupedLookups(db, statement))
      return (id, caller) => grouped.get(id, caller)
    },
    rows: (statement, caller) => pool?.rows(statement, caller) ?? rows(statement, caller),
    page(job, caller) {
      statistics?.keepUp()
      return pool?.page(job, caller) ?? readPage(db, job, rows, caller)
    },
    async [Symbol.asyncDispose]() {
      await stack.disposeAsync()
      await pool?.[Symbol.asyncDispose]()
    },
  }
}

async function readPage(
  db: AnyDatabase,
  { ids, pageSize, follow }: PageJob,
  rows: Reads['rows'],
  caller: Caller | undefined,
): Promise<PageRead> {
  const found = await db.all<{ id: string; sort_key: string | null }>(ids, caller)
  const page = found.slice(0, pageSize)
  const parameters = [JSON.stringify(page.map(row => row.id))]
  const parts: Slices[] = follow.map(() => [])
  // One after the other: side by side they would take a page's time from everybody who writes.
  if (page.length > 0) for (const [i, statement] of follow.entries()) parts[i] = await rows({ ...statement, parameters }, caller)
  return { ids: page.map(row => [row.id, row.sort_key] as const), more: found.length > pageSize, parts }
}
