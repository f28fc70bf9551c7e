import { expect, test } from 'vitest'
import { createDatabase, describeWith } from '../../../test/services/backends.ts'
import { eventually } from '../../../test/services/process.ts'
import { openDatabase } from '../src/store/open.ts'
import { openWorld } from './world.ts'

const RUNS = 800

describeWith(['postgres'], 'the statistics of PostgreSQL', () => {
  test('searches have tables analysed that grew, and others not again', async () => {
    await using database = await createDatabase('statistics')
    await using world = await openWorld(database.url)
    await using db = await openDatabase({ uri: database.url, poolSize: 1 })
    const counted = async (table: string) =>
      db.get<{ rows: number; analyses: number }>({
        sql: 'SELECT reltuples::int AS rows, pg_stat_get_analyze_count(oid)::int AS analyses FROM pg_class WHERE oid = $1::text::regclass',
        parameters: [table],
      })
    await db.run({ sql: 'ALTER TABLE runs SET (autovacuum_enabled = false)', parameters: [] })
    const { experimentId = '' } = await world.experiments.createExperiment({ name: 'grown' })
    const search = () => world.runs.searchRuns({ experimentIds: [experimentId], filter: "params.p = 'x'", maxResults: 1 })
    await search()
    for (let i = 0; i < RUNS; i += 40) await Promise.all(Array.from({ length: 40 }, () => world.runs.createRun({ experimentId })))
    const runs = await eventually('the runs are counted', async () => {
      await search()
      const found = await counted('runs')
      return found && found.rows >= RUNS ? found : undefined
    })
    expect(runs.analyses).toBeGreaterThan(0)
    expect(await counted('params')).toMatchObject({ analyses: 0 })
  })
})
