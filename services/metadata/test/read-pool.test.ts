import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { MlflowError } from '@millrace/kit/errors'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ReadPool } from '../src/store/dialects/sqlite/read-pool.ts'
import { RunPlaces } from '../src/store/dialects/sqlite/run-places.ts'

let folder = ''
let path = ''
let database: DatabaseSync

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-reads-'))
  path = join(folder, 'reads.db')
  database = new DatabaseSync(path)
  database.exec('PRAGMA journal_mode = WAL; CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, experiment_id INTEGER, start_time INTEGER)')
})

afterEach(async () => {
  database.close()
  await rm(folder, { recursive: true })
})

const NUMBERS = (count: number) =>
  `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) SELECT json_array(i) AS json FROM n`
/** Busy for longer than any of these tests. */
const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT json_array(max(i)) AS json FROM n'

async function codeOf(read: Promise<unknown>): Promise<string> {
  try {
    await read
    return 'accepted'
  } catch (reason) {
    return reason instanceof MlflowError ? reason.errorCode : String(reason)
  }
}

test('rows come in slices and see what was committed before', async () => {
  await using pool = new ReadPool({ path })
  const slices = await pool.rows({ sql: NUMBERS(250), parameters: [] })
  expect(slices.length).toBe(3)
  expect(slices.flatMap(text => JSON.parse(text)).length).toBe(250)
  for (let i = 0; i < 20; i++) {
    database.exec(`INSERT INTO runs VALUES ('r${i}', 1, ${i})`)
    expect(await pool.rows({ sql: 'SELECT count(*) AS json FROM runs', parameters: [] })).toEqual([`[${i + 1}]`])
  }
})

test('a failing read fails alone and without its text', async () => {
  await using pool = new ReadPool({ path })
  const [bad, good] = await Promise.allSettled([
    pool.rows({ sql: 'SELECT nothing FROM nowhere', parameters: [] }),
    pool.rows({ sql: NUMBERS(1), parameters: [] }),
  ])
  expect(bad).toMatchObject({ status: 'rejected', reason: { errorCode: 'INTERNAL_ERROR', rawMessage: 'Internal server error' } })
  expect(good).toMatchObject({ status: 'fulfilled', value: ['[[1]]'] })
})

test('a read that takes too long is ended, its thread replaced, and others go on', async () => {
  await using pool = new ReadPool({ path, threadsMax: 1, timeoutMs: 700 })
  expect(await codeOf(pool.rows({ sql: ENDLESS, parameters: [] }))).toBe('TEMPORARILY_UNAVAILABLE')
  expect(await pool.rows({ sql: NUMBERS(1), parameters: [] })).toEqual(['[[1]]'])
})

test('disposing ends the reads under way', async () => {
  const pool = new ReadPool({ path })
  const read = codeOf(pool.rows({ sql: ENDLESS, parameters: [] }))
  await pool[Symbol.asyncDispose]()
  expect(await read).toBe('TEMPORARILY_UNAVAILABLE')
  expect(() => pool.rows({ sql: NUMBERS(1), parameters: [] })).toThrow('shutting down')
})

test('a database that cannot be opened fails the read, not the process', async () => {
  await using pool = new ReadPool({ path: join(folder, 'absent', 'x.db') })
  expect(await codeOf(pool.rows({ sql: NUMBERS(1), parameters: [] }))).toBe('TEMPORARILY_UNAVAILABLE')
})

test('places of runs follow additions, removals and rowids that are used again', () => {
  using reader = new DatabaseSync(path, { readOnly: true })
  const places = new RunPlaces(reader)
  const runsOf = (id: number) => {
    places.refresh()
    const sql =
      'SELECT r.run_uuid AS run FROM run_places p JOIN runs r ON r.rowid = p.place WHERE p.experiment_id = ? AND r.experiment_id = p.experiment_id ORDER BY p.start_time DESC'
    return reader
      .prepare(sql)
      .all(id)
      .map(row => row.run)
  }
  expect(runsOf(1)).toEqual([])
  database.exec("INSERT INTO runs VALUES ('a', 1, 1), ('b', 2, 2), ('c', 1, 3)")
  expect(runsOf(1)).toEqual(['c', 'a'])
  database.exec("INSERT INTO runs VALUES ('d', 1, NULL)")
  expect(runsOf(1)).toEqual(['c', 'a', 'd'])
  database.exec("DELETE FROM runs WHERE run_uuid IN ('c', 'd'); INSERT INTO runs VALUES ('e', 2, 5), ('f', 1, 6)")
  expect(runsOf(1)).toEqual(['f', 'a'])
  expect(runsOf(2)).toEqual(['e', 'b'])
  database.exec("DELETE FROM runs WHERE run_uuid = 'a'; VACUUM")
  expect(runsOf(1)).toEqual(['f'])
  expect(runsOf(2)).toEqual(['e', 'b'])
  database.exec('DELETE FROM runs')
  expect(runsOf(2)).toEqual([])
})
