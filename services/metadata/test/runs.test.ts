import { RunStatus } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { expect, test } from 'vitest'
import { onEachWay, refusal } from './world.ts'

onEachWay('runs', (create, openWorld) => {
  test('create answers what get answers', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experimentId } = await world.experiments.createExperiment({ name: 'a' })
    const tags = [{ key: 'k', value: 'v' }]
    const { run } = await world.runs.createRun({ experimentId, startTime: 5n, userId: 'u', runName: 'named', tags })
    const runId = run?.info?.runId as string
    expect(runId).toMatch(/^[0-9a-f]{32}$/)
    const got = (await world.runs.getRun({ runId })).run
    expect(got?.info).toEqual({ ...run?.info, endTime: undefined })
    expect(got?.data).toEqual(run?.data)
    expect(run?.data?.tags.map(tag => [tag.key, tag.value])).toEqual([
      ['k', 'v'],
      ['mlflow.runName', 'named'],
    ])
  })

  test('create answers the id of the experiment as it was written', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experimentId } = await world.newRun()
    for (const written of [` ${experimentId}`, `0${experimentId}`, `+${experimentId}`]) {
      const { run } = await world.runs.createRun({ experimentId: written })
      expect(run?.info?.experimentId).toBe(written)
      expect((await world.runs.getRun({ runId: run?.info?.runId })).run?.info?.experimentId).toBe(experimentId)
    }
  })

  test('runs that are read at once are each their own, and what cannot be read fails alone', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const ids = await Promise.all(Array.from({ length: 40 }, async () => (await world.newRun()).runId))
    await Promise.all(ids.map((runId, i) => world.runs.setTag({ runId, key: 'place', value: `${i}` })))
    const asked = [...ids, ...ids.slice(0, 5), 'absent', 'odd\0id']
    const answers = await Promise.allSettled(asked.map(runId => world.runs.getRun({ runId })))
    const found = answers.flatMap(answer => (answer.status === 'fulfilled' ? [answer.value.run] : []))
    expect(found.map(run => run?.info?.runId)).toEqual([...ids, ...ids.slice(0, 5)])
    expect(found.map(run => run?.data?.tags.find(tag => tag.key === 'place')?.value)).toEqual(
      Array.from({ length: 45 }, (_, i) => `${i % 40}`),
    )
    expect(await refusal(world.runs.getRun({ runId: 'absent' }))).toBe('RESOURCE_DOES_NOT_EXIST: Run with id=absent not found')
    expect(await refusal(world.runs.getRun({ runId: 'odd\0id' }))).toMatch(/^(RESOURCE_DOES_NOT_EXIST|BAD_REQUEST): /)
  })

  test('a run without a name gets one of at most 20 characters', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    expect((await world.read(runId)).tags['mlflow.runName']).toMatch(/^[a-z]+-[a-z]+-\d{1,3}$/)
  })

  test('name and mlflow.runName are one', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runs } = world
    const { experimentId, runId } = await world.newRun()
    const tags = [{ key: 'mlflow.runName', value: 'b' }]
    expect(await refusal(runs.createRun({ experimentId, runName: 'a', tags }))).toBe(
      "INVALID_PARAMETER_VALUE: Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values " +
        "(run_name='a', mlflow.runName='b').",
    )
    const name = async () => [(await runs.getRun({ runId })).run?.info?.runName, (await world.read(runId)).tags['mlflow.runName']]
    await runs.setTag({ runId, key: 'mlflow.runName', value: 'by tag' })
    expect(await name()).toEqual(['by tag', 'by tag'])
    await runs.setTag({ runId, key: 'mlflow.runName', value: '' })
    expect(await name()).toEqual(['by tag', 'by tag'])
    await runs.updateRun({ runId, runName: 'by update' })
    expect(await name()).toEqual(['by update', 'by update'])
    await runs.logBatch({ runId, tags: [{ key: 'mlflow.runName', value: 'by batch' }] })
    expect(await name()).toEqual(['by batch', 'by batch'])
    await runs.deleteTag({ runId, key: 'mlflow.runName' })
    expect(await name()).toEqual(['by batch', undefined])
  })

  test('an empty name tag names nothing, a tag given twice is refused', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experimentId } = await world.newRun()
    const make = ([runName, ...names]: readonly [string, ...string[]]) =>
      world.runs.createRun({ experimentId, runName, tags: names.map(value => ({ key: 'mlflow.runName', value })) })
    for (const names of [
      ['', ''],
      ['a', ''],
      ['', 'a', 'b'],
      ['a', 'a', 'a'],
    ] as const) {
      expect(await refusal(make(names))).toBe('BAD_REQUEST: A run cannot have two tags of the same key')
    }
    expect(await refusal(make(['b', 'a', 'b']))).toMatch(/^INVALID_PARAMETER_VALUE: Both 'run_name' argument/)
  })

  test('update changes what is given', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runs } = world
    const { runId } = await world.newRun()
    const first = await runs.updateRun({ runId, status: RunStatus.FINISHED, endTime: 9n })
    expect(first.runInfo).toMatchObject({ status: RunStatus.FINISHED, endTime: 9n, runId })
    const second = await runs.updateRun({ runUuid: runId, status: RunStatus.RUNNING, runName: '' })
    expect(second.runInfo).toMatchObject({ status: RunStatus.RUNNING, endTime: 9n, runName: first.runInfo?.runName })
  })

  test('delete and restore can be repeated; a deleted run is read only', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runs, metrics } = world
    const { runId } = await world.newRun()
    await runs.deleteRun({ runId })
    await runs.deleteRun({ runId })
    const inactive = `INVALID_PARAMETER_VALUE: The run ${runId} must be in the 'active' state. Current state is deleted.`
    expect(await refusal(runs.updateRun({ runId, runName: 'x' }))).toBe(inactive)
    expect(await refusal(runs.setTag({ runId, key: 'k', value: 'v' }))).toBe(inactive)
    expect(await refusal(runs.deleteTag({ runId, key: 'k' }))).toBe(inactive)
    expect(await refusal(runs.logParam({ runId, key: 'k', value: 'v' }))).toBe(inactive)
    expect(await refusal(runs.logBatch({ runId }))).toBe(inactive)
    expect(await refusal(metrics.logMetric({ runId, key: 'k', value: 1, timestamp: 1n }))).toBe(inactive)
    await runs.restoreRun({ runId })
    await runs.restoreRun({ runId })
    expect((await runs.getRun({ runId })).run?.info?.lifecycleStage).toBe('active')
  })

  test('ids that no run can have are shown in ASCII', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const expected = `INVALID_PARAMETER_VALUE: Invalid value "\\u00e9\\ud83c\\udf89" for parameter 'run_id' supplied.`
    expect(await refusal(world.runs.logBatch({ runId: 'é🎉' }))).toBe(expected)
    expect(await refusal(world.runs.logInputs({ runId: 'é🎉' }))).toBe(expected)
  })

  test('unknown runs and experiments are named', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runs, metrics } = world
    const absent = 'RESOURCE_DOES_NOT_EXIST: Run with id=q not found'
    const runId = 'q'
    expect(await refusal(runs.updateRun({ runId }))).toBe(absent)
    expect(await refusal(runs.deleteRun({ runId }))).toBe(absent)
    expect(await refusal(runs.restoreRun({ runId }))).toBe(absent)
    expect(await refusal(runs.setTag({ runId, key: 'k' }))).toBe(absent)
    expect(await refusal(runs.deleteTag({ runId, key: 'k' }))).toBe(absent)
    expect(await refusal(runs.logParam({ runId, key: 'k' }))).toBe(absent)
    expect(await refusal(runs.logBatch({ runId }))).toBe(absent)
    expect(await refusal(metrics.logMetric({ runId, key: 'k', value: 1, timestamp: 1n }))).toBe(absent)
    expect(await refusal(runs.createRun({ experimentId: '99' }))).toBe('RESOURCE_DOES_NOT_EXIST: No Experiment with id=99 exists')
    expect(await refusal(runs.createRun({}))).toMatch(/^BAD_REQUEST/)
  })

  test('a tag that is absent cannot be deleted', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    await world.runs.setTag({ runId, key: 't', value: '1' })
    await world.runs.setTag({ runId, key: 't', value: '2' })
    expect((await world.read(runId)).tags.t).toBe('2')
    await world.runs.deleteTag({ runId, key: 't' })
    expect(await refusal(world.runs.deleteTag({ runId, key: 't' }))).toBe(
      `RESOURCE_DOES_NOT_EXIST: No tag with name: t in run with id ${runId}`,
    )
  })
})
