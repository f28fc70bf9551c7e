import { createClient } from '@connectrpc/connect'
import { LoggedModelService } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { expect, test } from 'vitest'
import { onEachWay, refusal } from './world.ts'

const LARGEST = 1.7976931348623157e308

onEachWay('logging', (create, openWorld) => {
  test('the latest of a metric is the greatest step, then timestamp, then value', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const points: [number, bigint, bigint][] = [
      [1, 10n, 0n],
      [2, 9n, 1n],
      [3, 8n, 1n],
      [2.5, 9n, 1n],
      [9, 100n, 0n],
      [-1, 9n, 1n],
    ]
    for (const [value, timestamp, step] of points) await world.metrics.logMetric({ runId, key: 'm', value, timestamp, step })
    expect((await world.read(runId)).metrics).toEqual({ m: [2.5, 9n, 1n] })
    await world.runs.logBatch({ runId, metrics: points.map(([value, timestamp, step]) => ({ key: 'n', value, timestamp, step })) })
    expect((await world.read(runId)).metrics.n).toEqual([2.5, 9n, 1n])
    expect(await world.history(runId, 'n')).toHaveLength(6)
  })

  test('NaN, infinities and 64-bit integers are kept as MLflow keeps them', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const big = 9_223_372_036_854_775_807n
    const metrics = [
      { key: 'nan', value: Number.NaN, timestamp: 1n },
      { key: 'inf', value: Number.POSITIVE_INFINITY, timestamp: big, step: -big },
      { key: 'ninf', value: Number.NEGATIVE_INFINITY, timestamp: 9_007_199_254_740_993n, step: big },
      { key: 'small', value: 5e-324, timestamp: 0n },
    ]
    await world.runs.logBatch({ runId, metrics })
    expect((await world.read(runId)).metrics).toEqual({
      nan: [Number.NaN, 1n, 0n],
      inf: [LARGEST, big, -big],
      ninf: [-LARGEST, 9_007_199_254_740_993n, big],
      small: [5e-324, 0n, 0n],
    })
  })

  test('a point logged again is kept once', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const point = { key: 'm', value: 1, timestamp: 1n, step: 1n }
    for (let i = 0; i < 3; i++) await world.metrics.logMetric({ runId, ...point })
    await world.runs.logBatch({ runId, metrics: [point, point] })
    expect(await world.history(runId, 'm')).toEqual([[1n, 1n, 1]])
  })

  test('a param is written once', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runs } = world
    const { runId } = await world.newRun()
    await runs.logParam({ runId, key: 'p', value: '1' })
    await runs.logParam({ runId, key: 'p', value: '1' })
    await runs.logParam({ runId, key: 'empty' })
    expect(await refusal(runs.logParam({ runId, key: 'p', value: '2' }))).toBe(
      `INVALID_PARAMETER_VALUE: Changing param values is not allowed. Param with key='p' was already logged with value='1' for run ID='${runId}'. ` +
        "Attempted logging new value '2'.",
    )
    expect((await world.read(runId)).params).toEqual({ p: '1', empty: '' })
  })

  test('a batch whose params conflict leaves nothing', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runs } = world
    const { runId } = await world.newRun()
    await runs.logParam({ runId, key: 'p', value: '1' })
    const params = [
      { key: 'q', value: '1' },
      { key: 'p', value: '9' },
    ]
    const batch = { runId, params, metrics: [{ key: 'm', value: 1, timestamp: 1n }], tags: [{ key: 't', value: '1' }] }
    expect(await refusal(runs.logBatch(batch))).toBe(
      'INVALID_PARAMETER_VALUE: Changing param values is not allowed. Params were already ' +
        `logged='[{'key': 'p', 'old_value': '1', 'new_value': '9'}]' for run ID='${runId}'.`,
    )
    const { metrics, params: kept, tags } = await world.read(runId)
    expect([metrics, kept, tags.t]).toEqual([{}, { p: '1' }, undefined])
  })

  test('of a tag given twice in a batch the last counts, a param given twice is refused', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const twice = [
      { key: 'd', value: '1' },
      { key: 'd', value: '2' },
    ]
    await world.runs.logBatch({ runId, tags: twice })
    expect((await world.read(runId)).tags.d).toBe('2')
    expect(await refusal(world.runs.logBatch({ runId, params: twice }))).toBe(
      "INVALID_PARAMETER_VALUE: Duplicate parameter keys have been submitted: ['d']. " +
        'Please ensure the request contains only one param value per param key.',
    )
  })

  test('metrics of a logged model', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const metric = { key: 'm', value: 1, timestamp: 1n, modelId: 'm-absent' }
    expect(await refusal(world.metrics.logMetric({ runId, ...metric }))).toMatch(/^BAD_REQUEST: .*m-absent/)
    expect(await world.history(runId, 'm')).toHaveLength(0)
    expect(await refusal(world.runs.logBatch({ runId, metrics: [metric], tags: [{ key: 't', value: '1' }] }))).toMatch(/^BAD_REQUEST/)
    expect(await world.history(runId, 'm')).toHaveLength(1)
  })

  test('a model has one value, of one data set, at a step and time of a run', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const models = createClient(LoggedModelService, world.transport)
    const { experimentId, runId } = await world.newRun()
    const modelId = (await models.createLoggedModel({ experimentId, name: 'm' })).model?.info?.modelId ?? ''
    const point = { key: 'm', value: 1, timestamp: 1n, step: 1n, modelId }
    const other = { ...point, datasetName: 'd', datasetDigest: 'g' }
    const taken = `BAD_REQUEST: Logged model '${modelId}' has another value of metric 'm' at step 1 already`
    for (let i = 0; i < 2; i++) await world.metrics.logMetric({ runId, ...point })
    for (const again of [{ ...point, value: 2 }, other]) expect(await refusal(world.metrics.logMetric({ runId, ...again }))).toBe(taken)
    expect((await world.read(runId)).metrics).toEqual({ m: [1, 1n, 1n] })

    const later = { ...point, step: 2n }
    expect(await refusal(world.runs.logBatch({ runId, metrics: [later, { ...point, value: 3 }], tags: [{ key: 't' }] }))).toBe(taken)
    const { metrics, tags } = await world.read(runId)
    expect([metrics, Object.keys(tags)]).toEqual([{ m: [1, 1n, 2n] }, ['mlflow.runName']])
    const own = async () => (await models.getLoggedModel({ modelId })).model?.data?.metrics.map(metric => metric.step)
    expect(await own()).toEqual([1n])

    expect(await refusal(world.runs.logBatch({ runId, metrics: [later, { ...later, value: 4 }] }))).toMatch(/^BAD_REQUEST: .* at step 2/)
    await world.runs.logBatch({ runId, metrics: [later, later, { ...point, timestamp: 2n, value: 5 }, { ...point, key: 'n' }] })
    expect((await own())?.length).toBe(4)
    const second = (await world.runs.createRun({ experimentId })).run?.info?.runId ?? ''
    await world.metrics.logMetric({ ...other, runId: second, value: 6 })
    expect((await own())?.length).toBe(5)
  })

  test('half of a data set is refused with the metric', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const point = { key: 'm', value: 1, timestamp: 1n }
    const expected = 'INVALID_PARAMETER_VALUE: Both dataset_name and dataset_digest must be provided if one is provided'
    for (const half of [{ datasetName: 'd' }, { datasetDigest: 'g' }, { datasetName: 'd', datasetDigest: '' }]) {
      expect(await refusal(world.metrics.logMetric({ runId, ...point, ...half }))).toBe(expected)
      expect(await refusal(world.runs.logBatch({ runId: '../x', metrics: [point, { ...point, ...half }] }))).toBe(expected)
    }
    await world.metrics.logMetric({ runId, ...point, datasetName: 'd', datasetDigest: 'g' })
    expect(await world.history(runId, 'm')).toHaveLength(1)
  })

  test('a batch with metrics of an unknown model keeps params and metrics, not tags', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const metrics = [{ key: 'm', value: 1, timestamp: 1n, modelId: 'm-none' }]
    const batch = { runId, metrics, params: [{ key: 'p', value: '1' }], tags: [{ key: 't', value: '1' }] }
    expect(await refusal(world.runs.logBatch(batch))).toMatch(/^BAD_REQUEST: .*m-none/)
    const { tags, ...rest } = await world.read(runId)
    expect(rest).toEqual({ metrics: { m: [1, 1n, 0n] }, params: { p: '1' } })
    expect(Object.keys(tags)).toEqual(['mlflow.runName'])
  })

  test('long values are cut or refused as configured', async () => {
    await using database = await create()
    const value = '🎉'.repeat(8001)
    let runId = ''
    {
      await using world = await openWorld(database.url)
      runId = (await world.newRun()).runId
      await world.runs.logBatch({ runId, params: [{ key: 'p', value }], tags: [{ key: 't', value }] })
      const { params, tags } = await world.read(runId)
      expect([params.p, tags.t]).toEqual(['🎉'.repeat(6000), '🎉'.repeat(8000)])
    }
    await using strict = await openWorld(database.url, { truncateLongValues: false })
    expect(await refusal(strict.runs.logParam({ runId, key: 'q', value }))).toBe(
      "INVALID_PARAMETER_VALUE: 'Param value' exceeds the maximum length of 6000 characters",
    )
  })
})
