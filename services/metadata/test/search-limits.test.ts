import { createClient } from '@connectrpc/connect'
import { LoggedModelService } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { expect, test } from 'vitest'
import { onEachDatabase, openWorld, refusal } from './world.ts'

const times = <T>(count: number, write: (i: number) => T) => Array.from({ length: count }, (_, i) => write(i))
const all = (count: number, write: (i: number) => string) => times(count, write).join(' AND ')
const TOO_MANY = 'INVALID_PARAMETER_VALUE: Too many'

onEachDatabase('a search of many clauses', create => {
  test('fifty conditions and fifty fields to order by find what they should, one more is refused with the number', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experimentId = '' } = await world.experiments.createExperiment({ name: 'many', tags: [{ key: 'k', value: 'v' }] })
    const ids: string[] = []
    for (const n of [0, 1, 2]) {
      const { run } = await world.runs.createRun({ experimentId, startTime: BigInt(n) })
      const runId = run?.info?.runId ?? ''
      ids.push(runId)
      const metrics = times(50, i => `m${i}`).map((key, i) => ({ key, value: i === 49 ? n : 1, timestamp: 1n, step: 0n }))
      const params = times(50, i => `p${i}`).map((key, i) => ({ key, value: i === 49 ? `v${n}` : 'v' }))
      // The last run has no m48, and NaN is no number of m47.
      if (n === 2) metrics.splice(48, 1)
      if (n === 1) Object.assign(metrics[47] as object, { value: Number.NaN })
      await world.runs.logBatch({ runId, metrics, params })
    }
    const search = async (filter: string, orderBy: string[] = ['start_time']) => {
      const { runs } = await world.runs.searchRuns({ experimentIds: [experimentId], filter, orderBy })
      return runs.map(run => ids.indexOf(run.info?.runId ?? '')).join('')
    }
    expect(await search(all(50, i => `params.p${i} ${i === 49 ? "!= 'v1'" : "= 'v'"}`))).toBe('02')
    expect(await search(all(50, i => `metrics.m${i} ${i === 47 ? '!= 5' : '>= 0'}`))).toBe('01')
    expect(await search(all(50, i => `metrics.m${i} >= 0`))).toBe('0')
    expect(await search(all(50, i => (i === 49 ? 'params.none IS NULL' : `params.p${i} IS NOT NULL`)))).toBe('012')
    expect(await search(all(50, () => 'params.none IS NOT NULL'))).toBe('')
    expect(await search(all(50, () => "dataset.name = 'd'"))).toBe('')
    expect(await search(all(50, () => "attributes.run_name LIKE '%'"))).toBe('012')
    const byParam = times(50, i => `params.p${i} DESC`)
    expect(
      await search(
        all(50, i => `params.p${i} LIKE 'v%'`),
        byParam,
      ),
    ).toBe('210')
    const byMetric = (last: string) => [...times(7, i => `metrics.m${i}`), last, 'start_time']
    expect(await search('', byMetric('metrics.m49 DESC'))).toBe('210')
    expect(await search('', byMetric('metrics.m48'))).toBe('012')
    expect(await search('', byMetric('metrics.m47 DESC'))).toBe('021')

    const conditions = `${TOO_MANY} conditions in the filter string: at most 50 are allowed, the request has 51.`
    const order = `${TOO_MANY} fields in 'order_by': at most 50 are allowed, the request has 51.`
    const orderBy = times(51, i => `metrics.m${i}`)
    expect(await refusal(search(all(51, i => `metrics.m${i} > 1`)))).toBe(conditions)
    expect(await refusal(search('', orderBy))).toBe(order)
    expect(await refusal(search(`params.p LIKE '${'%a'.repeat(20_000)}'`))).toContain(`${TOO_MANY} characters in a LIKE pattern`)
    expect(await refusal(search(`params.p = '${'a'.repeat(1_000_000)}'`))).toContain("Too many characters in 'filter'")
    expect(await refusal(search('', ['a'.repeat(1_000_000)]))).toContain("Too many characters in 'order_by'")

    const named = (filter: string) => world.experiments.searchExperiments({ maxResults: 5n, filter })
    expect((await named(all(50, i => (i % 2 ? "tags.k = 'v'" : 'tags.none IS NULL')))).experiments.map(e => e.name)).toEqual(['many'])
    expect(await refusal(named(all(51, () => "name = 'many'")))).toBe(conditions)
    const fields = times(51, () => 'name')
    expect(await refusal(world.experiments.searchExperiments({ maxResults: 5n, orderBy: fields }))).toBe(order)

    const models = createClient(LoggedModelService, world.transport)
    const { model } = await models.createLoggedModel({ experimentId, name: 'model', params: [{ key: 'a', value: 'b' }] })
    const experimentIds = [experimentId]
    const found = await models.searchLoggedModels({ experimentIds, filter: all(50, () => "params.a = 'b'") })
    expect(found.models.map(one => one.info?.modelId)).toEqual([model?.info?.modelId])
    const metricOrder = times(50, i => ({ fieldName: `metrics.m${i}` }))
    expect((await models.searchLoggedModels({ experimentIds, orderBy: metricOrder })).models).toHaveLength(1)
    expect(await refusal(models.searchLoggedModels({ experimentIds, filter: all(51, () => "params.a = 'b'") }))).toBe(conditions)
    expect(await refusal(models.searchLoggedModels({ experimentIds, orderBy: orderBy.map(fieldName => ({ fieldName })) }))).toBe(order)
    const datasets = times(51, i => `d${i}`).map(datasetName => ({ datasetName }))
    expect(await refusal(models.searchLoggedModels({ experimentIds, datasets }))).toBe(
      `${TOO_MANY} 'datasets': at most 50 are allowed, the request has 51.`,
    )
  })
})
