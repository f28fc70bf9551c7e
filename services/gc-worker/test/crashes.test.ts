import { setTimeout as sleep } from 'node:timers/promises'
import { JobState } from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import { describe, expect, test } from 'vitest'
import { startRedis } from '../../../test/services/redis.ts'
import { configFor, databases, has, openWorker, postgresDatabase, redisUrl, until, watch } from './harness.ts'
import { forkWorker, serveWorld } from './processes.ts'
import { World } from './world.ts'

const RUNS = 60

function worldOfRuns(): World {
  const world = new World()
  world.experiment('1')
  for (let i = 0; i < RUNS; i++) world.run(`run-${i}`)
  world.deleteMs = 25
  return world
}

describe.each(['sqlite', 'postgresql'] as const)('a worker killed in the middle of a job, control database on %s', provider => {
  test.for(['in-process', 'redis'] as const)('leaves a job that the next one completes, runner %s', async (runner, { skip }) => {
    skip(!has(provider, runner), `no server for ${provider} or ${runner}`)
    const world = worldOfRuns()
    await using database = await databases[provider]()
    await using served = await serveWorld(world)
    const config = configFor(database.target, runner === 'redis' ? { redisUrl } : {})
    await using first = await forkWorker(config, served.baseUrl)
    const { job } = await first.gc.startGarbageCollection({})
    await until('some runs are gone', () => world.runs.size < RUNS - 10)
    await first.kill()
    const left = world.runs.size
    expect(left).toBeGreaterThan(0)
    await using second = await forkWorker(config, served.baseUrl)
    const { job: ended, items } = await watch(second.gc, job?.jobId ?? '')
    expect(ended).toMatchObject({ state: JobState.SUCCEEDED, totalItems: RUNS + 1, doneItems: RUNS + 1 })
    expect(new Set(items.map(item => item.id)).size).toBe(RUNS + 1)
    expect(world.runs.size + world.experiments.size + world.files.size).toBe(0)
  })
})

test('another worker takes over when the one at work is killed', async ({ skip }) => {
  skip(!has('postgresql', 'redis'), 'no PostgreSQL or no Redis')
  const world = worldOfRuns()
  await using database = await postgresDatabase()
  await using served = await serveWorld(world)
  const config = configFor(database.target, { redisUrl })
  await using first = await forkWorker(config, served.baseUrl)
  const { job } = await first.gc.startGarbageCollection({})
  await until('some runs are gone', () => world.runs.size < RUNS - 10)
  await using second = await forkWorker(config, served.baseUrl)
  await first.kill()
  const { job: ended } = await watch(second.gc, job?.jobId ?? '')
  expect(ended).toMatchObject({ state: JobState.SUCCEEDED, doneItems: RUNS + 1 })
})

test('Redis killed and restarted in the middle of a job loses nothing', async ({ skip }) => {
  skip(!has('postgresql', 'redis'), 'no PostgreSQL or no Redis')
  const world = worldOfRuns()
  await using database = await postgresDatabase()
  await using redis = await startRedis()
  // After the restart a job has to come through Redis again: the sweeper would wait too long.
  const timings = { doorbellPatienceMs: 60_000, silenceMs: 1_000 }
  await using open = await openWorker(world, configFor(database.target, { redisUrl: redis.url }), timings)
  await until('the worker is ready', () =>
    open.worker.ready().then(
      () => true,
      () => false,
    ),
  )
  const { job: before } = await open.gc.startGarbageCollection({ runIds: ['run-0', 'run-1'], experimentIds: [] })
  await until('it has begun', () => world.deletes.length > 0)
  await redis.kill()
  await expect(open.worker.ready()).rejects.toThrow()
  const { job: during } = await open.gc.startGarbageCollection({})
  const results = await Promise.all([before, during].map(job => watch(open.gc, job?.jobId ?? '')))
  expect(results.map(result => result.job.state)).toEqual([JobState.SUCCEEDED, JobState.SUCCEEDED])
  expect(world.runs.size + world.files.size).toBe(0)
  await redis.restart()
  await until('the worker is ready again', () =>
    open.worker.ready().then(
      () => true,
      () => false,
    ),
  )
  await sleep(1_500)
  await open.worker.ready()
  world.experiment('2')
  world.run('late', '2')
  const { job: after } = await open.gc.startGarbageCollection({})
  expect((await watch(open.gc, after?.jobId ?? '')).job.state).toBe(JobState.SUCCEEDED)
})

test('a due job whose ring was lost in Redis is found by the sweeper', async ({ skip }) => {
  skip(!has('postgresql', 'redis'), 'no PostgreSQL or no Redis')
  const world = worldOfRuns()
  await using database = await postgresDatabase()
  await using served = await serveWorld(world)
  await using redis = await startRedis()
  const config = configFor(database.target, { redisUrl: redis.url })
  await using first = await forkWorker(config, served.baseUrl)
  const { job } = await first.gc.startGarbageCollection({})
  await until('some runs are gone', () => world.runs.size < RUNS - 10)
  await Promise.all([first.kill(), redis.kill()])
  await redis.restart()
  await using second = await forkWorker(config, served.baseUrl)
  expect((await watch(second.gc, job?.jobId ?? '')).job).toMatchObject({ state: JobState.SUCCEEDED, doneItems: RUNS + 1 })
})
