import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { openDatabase } from '../src/store/open.ts'
import { onEachEmptyDatabase, openWorld } from './world.ts'

onEachEmptyDatabase('the database', create => {
  test('an empty one gets all 64 tables of MLflow, its revision and the default experiment', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const found = await world.experiments.getExperiment({ experimentId: '0' })
    expect(found.experiment).toMatchObject({ name: 'Default', artifactLocation: 'mlflow-artifacts:/0', lifecycleStage: 'active' })
    await using db = await openDatabase({ uri: database.url, poolSize: 4 })
    const count =
      db.dialect.name === 'sqlite'
        ? "SELECT count(*) AS n FROM sqlite_master WHERE type = 'table'"
        : "SELECT count(*) AS n FROM pg_tables WHERE schemaname = 'public'"
    expect(await db.get({ sql: count, parameters: [] })).toEqual({ n: 65 })
  })

  test('two processes that start at once on an empty one agree', async () => {
    await using database = await create()
    const worlds = await Promise.all([openWorld(database.url), openWorld(database.url)])
    const ids = await Promise.all(worlds.map(w => w.experiments.createExperiment({ name: Math.random().toString() })))
    expect(new Set(ids.map(id => id.experimentId)).size).toBe(2)
    for (const world of worlds) await world[Symbol.asyncDispose]()
  })

  test('another revision is refused with both names', async () => {
    await using database = await create()
    await (await openWorld(database.url))[Symbol.asyncDispose]()
    {
      await using db = await openDatabase({ uri: database.url, poolSize: 4 })
      await db.run({ sql: "UPDATE alembic_version SET version_num = 'aaaa11112222'", parameters: [] })
    }
    await expect(openWorld(database.url)).rejects.toThrow(/aaaa11112222.*dc11669786a5/)
  })

  test('rows of a workspace are refused', async () => {
    await using database = await create()
    await (await openWorld(database.url))[Symbol.asyncDispose]()
    {
      await using db = await openDatabase({ uri: database.url, poolSize: 4 })
      await db.run({ sql: "INSERT INTO experiments (experiment_id, name, workspace) VALUES (77, 'x', 'team')", parameters: [] })
    }
    await expect(openWorld(database.url)).rejects.toThrow(/outside the default workspace/)
  })

  test('a transaction that throws leaves nothing', async () => {
    await using database = await create()
    await using db = await openDatabase({ uri: database.url, poolSize: 4 })
    const insert = db.kysely.insertInto('experiments').values({ experiment_id: 5, name: 'five' }).compile()
    const work = db.transaction(async tx => {
      await tx.run(insert)
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    expect(await db.get(db.kysely.selectFrom('experiments').select('name').where('experiment_id', '=', 5).compile())).toBeUndefined()
  })
})

test('a lock that another process holds on SQLite is waited for without holding up the event loop', async () => {
  const { mkdtemp } = await import('node:fs/promises')
  const folder = await mkdtemp('/tmp/millrace-metadata-')
  await using world = await openWorld(`sqlite:///${folder}/mlflow.db`)
  const { runId } = await world.newRun()
  const other = new DatabaseSync(`${folder}/mlflow.db`)
  other.exec('BEGIN IMMEDIATE')
  const logged = world.metrics.logMetric({ runId, key: 'm', value: 1, timestamp: 1n })
  await new Promise(resolve => setTimeout(resolve, 500))
  other.exec('COMMIT')
  other.close()
  await logged
  expect(await world.history(runId, 'm')).toHaveLength(1)
})
