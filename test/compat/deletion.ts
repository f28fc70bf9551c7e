import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { query } from '../services/postgres.ts'

export type Rows = (sql: string, ...values: string[]) => Promise<Record<string, unknown>[]>

/** Reads a SQLite tracking database beside the server that owns it. */
export function sqliteRows(path: string): Rows {
  return async (sql, ...values) => {
    const database = new DatabaseSync(path, { readOnly: true })
    try {
      return database.prepare(sql).all(...values)
    } finally {
      database.close()
    }
  }
}

/** Takes the same statements as `sqliteRows`, with `?` for a value. */
export function postgresRows(url: string): Rows {
  return (sql, ...values) => {
    let n = 0
    return query(
      url,
      sql.replaceAll('?', () => `$${++n}`),
      values,
    )
  }
}

const tablesOfRuns = ['runs', 'metrics', 'latest_metrics', 'params', 'tags']

/** How many rows each table of the tracking database still holds of a run. */
export async function rowsOfRun(rows: Rows, runId: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const table of tablesOfRuns) {
    const [row] = await rows(`select count(*) as n from ${table} where run_uuid = ?`, runId)
    counts[table] = Number(row?.n)
  }
  return counts
}

export async function filesBelow(folder: string): Promise<string[]> {
  if (!existsSync(folder)) return []
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .toSorted()
}
