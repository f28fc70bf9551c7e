import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { RunStatus } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import pg from 'pg'
import { expect, test } from 'vitest'
import { createDatabase, describeWith } from '../../../test/services/backends.ts'
import { onEachWay, openWorld, refusal } from './world.ts'

onEachWay('group commit', (create, openWorld, portable) => {
  test('everything that many callers log at once is there, and refusals hit only their own', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const ids = await Promise.all(Array.from({ length: 8 }, async () => (await world.newRun()).runId))
    const calls = Array.from({ length: 400 }, (_, i) => {
      const runId = i % 50 === 7 ? 'absent' : (ids[i % ids.length] as string)
      const key = `m${i % 5}`
      if (i % 3 === 0)
        return world.runs.logBatch({ runId, metrics: [{ key, value: i, timestamp: BigInt(i) }], tags: [{ key, value: `${i}` }] })
      if (i % 3 === 1) return world.runs.logParam({ runId, key: `p${i}`, value: 'v' })
      return world.metrics.logMetric({ runId, key, value: i, timestamp: BigInt(i) })
    })
    const outcomes = await Promise.allSettled(calls)
    expect(outcomes.filter(o => o.status === 'rejected')).toHaveLength(8)
    let points = 0
    let params = 0
    for (const id of ids) {
      for (let k = 0; k < 5; k++) points += (await world.history(id, `m${k}`)).length
      params += Object.keys((await world.read(id)).params).length
    }
    expect(points + params).toBe(392)
  })

  test('two values of one param at once: one is kept, the other refused', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const values = ['a', 'b', 'c', 'd']
    const outcomes = await Promise.all(values.map(value => refusal(world.runs.logParam({ runId, key: 'p', value }))))
    expect(outcomes.filter(outcome => outcome === 'accepted')).toHaveLength(1)
    expect((await world.read(runId)).params.p).toBe(values[outcomes.indexOf('accepted')])
  })

  test('runs that are made, changed and logged to at once get what each asked for', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const ids = await Promise.all(Array.from({ length: 6 }, async () => (await world.newRun()).runId as string))
    const gone = (await world.newRun()).runId as string
    await world.runs.deleteRun({ runId: gone })
    const update = (runId: string, change: object) => refusal(world.runs.updateRun({ runId, ...change }))
    const outcomes = await Promise.all([
      ...ids.map((runId, i) => update(runId, { status: RunStatus.FINISHED, endTime: BigInt(i + 1) })),
      ...ids.map(runId => update(runId, { runName: `named-${runId}` })),
      ...ids.map(runId => refusal(world.metrics.logMetric({ runId, key: 'm', value: 1, timestamp: 1n }))),
      ...ids.map(runId => refusal(world.runs.logParam({ runId, key: 'p', value: 'v' }))),
      ...ids.map(runId => refusal(world.runs.setTag({ runId, key: 't', value: 'v' }))),
      ...ids.map(() => refusal(world.runs.createRun({ experimentId: '0' }))),
    ])
    expect(outcomes).toEqual(Array(36).fill('accepted'))
    const refused = await Promise.all([
      update('absent', { status: RunStatus.FAILED }),
      update(gone, { status: RunStatus.FAILED }),
      refusal(world.metrics.logMetric({ runId: ids[0], key: 'm', value: 2, timestamp: 2n })),
    ])
    expect(refused).toEqual([
      expect.stringMatching(/^RESOURCE_DOES_NOT_EXIST/),
      expect.stringMatching(/^INVALID_PARAMETER_VALUE/),
      'accepted',
    ])
    for (const [i, runId] of ids.entries()) {
      const run = await world.read(runId)
      const info = (await world.runs.getRun({ runId })).run?.info
      expect(info).toMatchObject({ status: RunStatus.FINISHED, endTime: BigInt(i + 1), runName: `named-${runId}` })
      expect(run.params).toEqual({ p: 'v' })
      expect(run.tags).toMatchObject({ t: 'v', 'mlflow.runName': `named-${runId}` })
      expect(run.metrics.m).toEqual(i === 0 ? [2, 2n, 0n] : [1, 1n, 0n])
    }
  })

  test('what the database refuses fails alone', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const good = Array.from({ length: 5 }, (_, i) => refusal(world.runs.setTag({ runId, key: `k${i}`, value: 'v' })))
    // PostgreSQL has no NUL in a text.
    const odd = await refusal(world.runs.setTag({ runId, key: 'odd', value: 'a\0b' }))
    expect(await Promise.all(good)).toEqual(Array(5).fill('accepted'))
    expect(odd).toBe(database.url.startsWith('sqlite') ? 'accepted' : 'BAD_REQUEST: A value does not fit the database')
    expect(Object.keys((await world.read(runId)).tags)).toHaveLength(odd === 'accepted' ? 7 : 6)
  })

  test('closing waits for what was accepted', async () => {
    await using database = await create()
    const world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const calls = Array.from({ length: 50 }, (_, i) => world.metrics.logMetric({ runId, key: 'm', value: i, timestamp: 1n }))
    await world[Symbol.asyncDispose]()
    await Promise.all(calls)
    await using again = await openWorld(database.url)
    expect(await again.history(runId, 'm')).toHaveLength(50)
  })

  test('what was acknowledged before kill -9 is there afterwards', async () => {
    await using database = await create()
    await (await openWorld(database.url))[Symbol.asyncDispose]()
    for (let round = 0; round < 3; round++) {
      const writer = fork(new URL('./writer-process.ts', import.meta.url), [database.url, ...(portable ? ['portable'] : [])])
      const [runId] = (await once(writer, 'message')) as [string]
      const acknowledged = new Set<number>()
      writer.on('message', step => acknowledged.add(step as number))
      await setTimeout(300)
      writer.kill('SIGKILL')
      await once(writer, 'exit')
      await using world = await openWorld(database.url)
      const found = new Set((await world.history(runId, 'm')).map(point => Number((point as bigint[])[0])))
      expect(acknowledged.size).toBeGreaterThan(0)
      expect([...acknowledged].filter(step => !found.has(step))).toEqual([])
    }
  })
})

describeWith(['postgres'], 'group commit on PostgreSQL', () => {
  test.each([false, true])('a run that another program has locked holds up no other (in the portable way: %s)', async portable => {
    await using database = await createDatabase('metadata')
    await using world = await openWorld(database.url, {}, { portable })
    const experimentId = '0'
    const runId = (await world.runs.createRun({ experimentId })).run?.info?.runId
    const other = new pg.Client({ connectionString: database.url })
    await other.connect()
    await other.query('BEGIN')
    await other.query('SELECT 1 FROM runs WHERE run_uuid = $1 FOR UPDATE', [runId])
    const held = refusal(world.runs.setTag({ runId, key: 't', value: 'v' }))
    await setTimeout(100)
    for (let i = 0; i < 8; i++) {
      const { run } = await world.runs.createRun({ experimentId })
      await world.metrics.logMetric({ runId: run?.info?.runId, key: 'm', value: i, timestamp: 1n })
    }
    expect(await Promise.race([held, 'held'])).toBe('held')
    await other.query('COMMIT')
    expect(await held).toBe('accepted')
    await other.end()
  })
})
