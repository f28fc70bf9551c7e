import { setTimeout as sleep } from 'node:timers/promises'
import { internalError, temporarilyUnavailable } from '@millrace/kit/errors'
import { ItemState, JobState } from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { collect, configFor, databases, has, openWorker, redisUrl, type TestDatabase, watch } from './harness.ts'
import { World } from './world.ts'

describe.each(['sqlite', 'postgresql'] as const)('garbage collection, control database on %s', provider => {
  let database: TestDatabase
  let world: World
  beforeEach(async ({ skip }) => {
    skip(!has(provider), `no ${provider} server`)
    database = await databases[provider]()
    world = new World()
  })
  afterEach(() => database?.[Symbol.asyncDispose]())

  test('removes everything deleted, experiments last, and nothing active', async () => {
    world.experiment('1', 'active')
    world.experiment('2')
    world.run('gone')
    world.run('kept', '1', 'active')
    world.run('inside', '2')
    world.model('m-gone')
    world.model('m-inside', '2', 'active')
    world.model('m-kept', '1', 'active')
    await using open = await openWorker(world, configFor(database.target))
    const { job, items } = await collect(open.gc)
    expect(job.state).toBe(JobState.SUCCEEDED)
    expect(job).toMatchObject({ totalItems: 4, doneItems: 4, failedItems: 0 })
    expect(items.map(item => item.id).sort()).toEqual(['2', 'gone', 'inside', 'm-gone'])
    expect(items.at(-1)?.id).toBe('2')
    expect([...world.runs.keys(), ...world.models.keys(), ...world.experiments.keys()]).toEqual(['kept', 'm-kept', '1'])
    expect([...world.files]).toEqual([
      'mlflow-artifacts:/1/kept/artifacts/model.bin',
      'mlflow-artifacts:/1/models/m-kept/artifacts/MLmodel',
    ])
  })

  test('a job by a name that no job has is not found, whatever the name', async () => {
    await using open = await openWorker(world, configFor(database.target))
    for (const jobId of ['', '\0', 'a\0b', '\u{d800}', '../x', 'x'.repeat(1_000_000)]) {
      const missing = { errorCode: 'RESOURCE_DOES_NOT_EXIST', rawMessage: expect.stringMatching(/^.{0,600}$/su) }
      await expect(open.gc.getGarbageCollection({ jobId })).rejects.toMatchObject(missing)
      await expect(watch(open.gc, jobId)).rejects.toMatchObject(missing)
    }
  })

  test('an error with what PostgreSQL cannot store in it is kept', async () => {
    world.experiment('1', 'active')
    world.run('r')
    world.beforeDelete = () => {
      throw internalError('no \0 \u{d800} here')
    }
    await using open = await openWorker(world, configFor(database.target))
    expect((await collect(open.gc)).items).toMatchObject([{ state: ItemState.FAILED, error: 'no \u{fffd} \u{fffd} here' }])
  })

  test('one failure does not stop the rest, and the experiment of what failed stays', async () => {
    world.experiment('1')
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) world.run(id)
    world.beforeDelete = uri => {
      if (uri.includes('/c/')) throw internalError('the disk is read-only')
    }
    await using open = await openWorker(world, configFor(database.target))
    const { job, items, done } = await collect(open.gc)
    expect(job.state).toBe(JobState.FAILED)
    expect(done.sort()).toEqual(['a', 'b', 'd', 'e', 'f'])
    expect(items.find(item => item.id === 'c')).toMatchObject({ state: ItemState.FAILED, error: 'the disk is read-only' })
    expect(items.find(item => item.id === '1')?.error).toBe('Experiment 1 still has runs that were not removed')
    expect([...world.runs.keys()]).toEqual(['c'])
    expect(world.experiments.has('1')).toBe(true)
  })

  test('what fails for a passing reason is tried again until it goes', async () => {
    world.experiment('1')
    world.run('a')
    let failures = 2
    world.beforeDelete = () => {
      if (failures-- > 0) throw temporarilyUnavailable('the store is away')
    }
    await using open = await openWorker(world, configFor(database.target))
    const { job } = await collect(open.gc)
    expect(job.state).toBe(JobState.SUCCEEDED)
    expect(world.experiments.size + world.runs.size).toBe(0)
  })

  test('a run restored meanwhile keeps its artifacts and its experiment', async () => {
    world.experiment('1')
    for (let i = 0; i < 12; i++) world.run(`run-${i}`)
    world.beforeDelete = uri => {
      const last = world.runs.get('run-11')
      if (uri.includes('/run-0/') && last) last.lifecycleStage = 'active'
    }
    await using open = await openWorker(world, configFor(database.target))
    const { items } = await collect(open.gc)
    expect(items.find(item => item.id === 'run-11')?.error).toMatch(/^Run run-11 is not in `deleted` lifecycle stage/)
    expect([...world.runs.keys()]).toEqual(['run-11'])
    expect([...world.files]).toEqual(['mlflow-artifacts:/1/run-11/artifacts/model.bin'])
    expect(world.experiments.has('1')).toBe(true)
  })

  test('a dry run lists and removes nothing', async () => {
    world.experiment('1')
    for (let i = 0; i < 120; i++) world.run(`run-${i}`)
    await using open = await openWorker(world, configFor(database.target))
    const { job } = await open.gc.startGarbageCollection({ dryRun: true })
    expect(job).toMatchObject({ state: JobState.SUCCEEDED, totalItems: 121, doneItems: 0, dryRun: true })
    const first = await open.gc.getGarbageCollection({ jobId: job?.jobId })
    const second = await open.gc.getGarbageCollection({ jobId: job?.jobId, pageToken: first.nextPageToken })
    expect([...first.items, ...second.items].map(item => item.id)).toEqual([...world.runs.keys(), '1'])
    expect(second.nextPageToken).toBeUndefined()
    expect(world.deletes).toEqual([])
  })

  test('two workers on one queue run a job once', async ({ skip }) => {
    skip(!has('redis'), 'no Redis server')
    world.experiment('1')
    for (let i = 0; i < 40; i++) world.run(`run-${i}`)
    world.deleteMs = 20
    const config = configFor(database.target, { redisUrl })
    await using first = await openWorker(world, config)
    await using second = provider === 'postgresql' ? await openWorker(world, config) : first
    const jobs = await Promise.all(
      [first, second].map(async ({ gc }) => (await gc.startGarbageCollection({ runIds: [...world.runs.keys()] })).job),
    )
    const results = await Promise.all(jobs.map(job => watch(first.gc, job?.jobId ?? '')))
    expect(results.map(result => result.job.state)).toEqual([JobState.SUCCEEDED, JobState.SUCCEEDED])
    expect(world.runs.size + world.files.size).toBe(0)
    for (const { items } of results) expect(new Set(items.map(item => item.id)).size).toBe(items.length)
  })

  test('a stopping worker gives its job back, and the next one goes on', async () => {
    world.experiment('1')
    for (let i = 0; i < 60; i++) world.run(`run-${i}`)
    world.deleteMs = 20
    const config = configFor(database.target)
    const first = await openWorker(world, config, { leaseMs: 60_000 })
    const { job } = await first.gc.startGarbageCollection({})
    await sleep(120)
    await first[Symbol.asyncDispose]()
    const removed = world.deletes.length
    expect(removed).toBeGreaterThan(0)
    expect(removed).toBeLessThan(60)
    await using second = await openWorker(world, config)
    const { job: ended } = await watch(second.gc, job?.jobId ?? '')
    expect(ended).toMatchObject({ state: JobState.SUCCEEDED, doneItems: 61 })
    expect(world.deletes.filter(uri => uri.endsWith('/artifacts')).length).toBe(60)
  })
})

describe("an experiment's folder", () => {
  test('goes when nothing is left in it; files of somebody else keep it', async () => {
    await using database = await databases.sqlite()
    const world = new World()
    world.experiment('1')
    world.experiment('2')
    world.experiment('3', 'deleted', 1_000n, 'mlflow-artifacts:/shared')
    world.run('r1', '1')
    world.files.add('mlflow-artifacts:/2/other-tracker/artifacts/model.bin')
    world.files.add('mlflow-artifacts:/shared/data.csv')
    await using open = await openWorker(world, configFor(database.target))
    expect((await collect(open.gc)).job.state).toBe(JobState.SUCCEEDED)
    expect([...world.files]).toEqual(['mlflow-artifacts:/2/other-tracker/artifacts/model.bin', 'mlflow-artifacts:/shared/data.csv'])
    expect(world.deletes).toEqual(['mlflow-artifacts:/1/r1/artifacts'])
  })
})
