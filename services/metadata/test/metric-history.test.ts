import { expect, test } from 'vitest'
import { onEachWay, refusal } from './world.ts'

const BIG = 9_223_372_036_854_775_807n

onEachWay('metric history', (create, openWorld) => {
  test('whole, in order, with exact 64-bit integers', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const points = [
      { value: 1.5, timestamp: 5n, step: -BIG },
      { value: Number.NaN, timestamp: 6n, step: 1n },
      { value: Number.POSITIVE_INFINITY, timestamp: 5n, step: 2n },
      { value: 0.1 + 0.2, timestamp: BIG, step: 9_007_199_254_740_993n },
    ]
    await world.runs.logBatch({ runId, metrics: points.map(point => ({ key: 'm', ...point })) })
    expect(await world.history(runId, 'm')).toEqual([
      [-BIG, 5n, 1.5],
      [2n, 5n, Number.MAX_VALUE],
      [1n, 6n, Number.NaN],
      [9_007_199_254_740_993n, BIG, 0.1 + 0.2],
    ])
    expect(await world.history(runId, 'other')).toEqual([])
    expect(await world.history('nope', 'm')).toEqual([])
  })

  test('thousands of points of several runs in order', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { metrics, runs } = world
    const ids = [(await world.newRun()).runId, (await world.newRun()).runId]
    const steps = Array.from({ length: 1_700 }, (_, i) => (i * 611) % 1_700)
    for (const runId of ids) {
      for (const part of [steps.slice(0, 900), steps.slice(900)]) {
        const points = part.map(step => ({ key: 'm', value: step / 7, timestamp: BigInt(step >> 4), step: BigInt(step) }))
        await runs.logBatch({ runId, metrics: points })
      }
    }
    const ordered = steps.toSorted((a, b) => a - b)
    for (const runId of ids) {
      expect(await world.history(runId, 'm')).toEqual(ordered.map(step => [BigInt(step), BigInt(step >> 4), step / 7]))
    }
    const bulk = await metrics.getMetricHistoryBulk({ runId: ids, metricKey: 'm' })
    expect(bulk.metrics.map(m => [m.runId, m.step])).toEqual(ids.sort().flatMap(id => ordered.map(step => [id, BigInt(step)])))
  })

  test('in pages, in bulk and sampled', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { metrics, runs } = world
    const [one, two] = [(await world.newRun()).runId, (await world.newRun()).runId]
    const log = (runId: string, count: number) =>
      runs.logBatch({
        runId,
        metrics: Array.from({ length: count }, (_, i) => ({ key: 'm', value: i, timestamp: BigInt(i), step: BigInt(i * 3) })),
      })
    await log(one, 40)
    await log(two, 3)
    const values = (answer: { metrics: { value?: number }[] }) => answer.metrics.map(m => m.value)

    const page = await metrics.getMetricHistory({ runId: one, metricKey: 'm', maxResults: 30 })
    expect(page.nextPageToken).toBe(Buffer.from('{"offset": 30}').toString('base64'))
    const rest = await metrics.getMetricHistory({ runId: one, metricKey: 'm', maxResults: 10, pageToken: page.nextPageToken })
    expect(values(rest)).toEqual([30, 31, 32, 33, 34, 35, 36, 37, 38, 39])
    expect(rest.nextPageToken).toBeUndefined()
    expect(await refusal(metrics.getMetricHistory({ runId: one, metricKey: 'm', maxResults: 0 }))).toBe(
      "INVALID_PARAMETER_VALUE: Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer.",
    )

    const bulk = await metrics.getMetricHistoryBulk({ runId: [two, one], metricKey: 'm', maxResults: 42 })
    expect(bulk.metrics.map(m => m.runId)).toEqual(
      [one, two]
        .sort()
        .flatMap(id => Array(id === one ? 40 : 3).fill(id))
        .slice(0, 42),
    )
    const points = async (maxResults: number) => values(await metrics.getMetricHistoryBulk({ runId: [two], metricKey: 'm', maxResults }))
    expect([await points(2), await points(0), await points(-1), await points(-9)]).toEqual([[0, 1], [], [0, 1], []])
    expect(await refusal(metrics.getMetricHistoryBulk({ metricKey: 'm' }))).toMatch(/at least one run_id/)

    const sample = async (more: object) => values(await metrics.getMetricHistoryBulkInterval({ runIds: [one], metricKey: 'm', ...more }))
    expect(await sample({ maxResults: 5 })).toEqual([0, 8, 16, 24, 39])
    expect(await sample({ maxResults: 1 })).toEqual([39])
    expect(await sample({ maxResults: 3, startStep: 9, endStep: 30 })).toEqual([3, 6, 10])
    expect((await sample({})).length).toBe(40)
    const both = await metrics.getMetricHistoryBulkInterval({ runIds: [two, one, two], metricKey: 'm', maxResults: 2 })
    expect(both.metrics.map(m => [m.runId, m.value])).toEqual(
      [two, one, two].flatMap(id => [
        [id, 0],
        [id, id === one ? 39 : 2],
      ]),
    )
    expect(await refusal(metrics.getMetricHistoryBulkInterval({ runIds: [one], metricKey: 'm', startStep: 3 }))).toMatch(
      /both must be specified/,
    )
    expect(await refusal(metrics.getMetricHistoryBulkInterval({ runIds: [one], metricKey: 'm', startStep: 3, endStep: 2 }))).toMatch(
      /end_step must be greater than start_step. Found start_step=3 and end_step=2/,
    )
  })
})
