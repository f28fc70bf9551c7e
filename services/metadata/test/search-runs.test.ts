import { ViewType } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { expect, test } from 'vitest'
import { onEachWay, refusal, type TestDatabase, type World } from './world.ts'

const START = 1_600_000_000_000n

/** Runs r0, r1, ...: one per second, with what `describe` gives. */
async function seed(world: World, count: number, logged: (i: number) => object = () => ({})) {
  const { experimentId = '' } = await world.experiments.createExperiment({ name: 'searched' })
  const ids: string[] = []
  for (let i = 0; i < count; i++) {
    const { run } = await world.runs.createRun({ experimentId, runName: `r${i}`, startTime: START + BigInt(i) * 1000n, userId: 'u' })
    const runId = run?.info?.runId ?? ''
    ids.push(runId)
    await world.runs.logBatch({ runId, ...logged(i) })
  }
  return { experimentId, ids }
}

const metric = (key: string, value: number) => ({ key, value, timestamp: 1n, step: 0n })

onEachWay('search of runs', (create, openWorld) => {
  const withRuns = async (
    count: number,
    logged: Parameters<typeof seed>[2],
    body: (s: Search, world: World, ids: string[]) => Promise<void>,
  ) => {
    await using database: TestDatabase = await create()
    await using world = await openWorld(database.url)
    const { experimentId, ids } = await seed(world, count, logged)
    const search: Search = async (filter, orderBy = ['start_time'], more = {}) => {
      const answer = await world.runs.searchRuns({ experimentIds: [experimentId], filter, orderBy, ...more })
      return answer.runs.map(run => run.info?.runName).join(' ')
    }
    await body(search, world, ids)
  }
  type Search = (filter?: string, orderBy?: string[], more?: object) => Promise<string>

  test('text is compared by case, except with ILIKE; % and _ are wildcards and a backslash is none', async () => {
    const values = ['adam', 'Adam', '50%', 'a\\b', 'éa']
    await withRuns(
      5,
      i => ({ params: [{ key: 'p', value: values[i] }] }),
      async search => {
        expect(await search("params.p LIKE 'a%'")).toBe('r0 r3')
        expect(await search("params.p ILIKE 'A%'")).toBe('r0 r1 r3')
        expect(await search("params.p = 'Adam'")).toBe('r1')
        expect(await search("params.p != 'Adam'")).toBe('r0 r2 r3 r4')
        expect(await search("params.p LIKE '__am'")).toBe('r0 r1')
        expect(await search("params.p LIKE '%\\%'")).toBe('r3')
        expect(await search("params.p LIKE '_a'")).toBe('r4')
        expect(await search("params.absent != 'x'")).toBe('')
        expect(await search('params.absent IS NULL')).toBe('r0 r1 r2 r3 r4')
        expect(await search('params.p IS NOT NULL AND params.absent IS NOT NULL')).toBe('')
      },
    )
  })

  test('NaN differs from every number, and conditions on one entity are independent', async () => {
    const values = [0, 0.5, Number.NaN, -1]
    await withRuns(
      5,
      i => (i < 4 ? { metrics: [metric('m', values[i] as number)] } : {}),
      async search => {
        expect(await search('metrics.m >= 0')).toBe('r0 r1')
        expect(await search('metrics.m = 0')).toBe('r0')
        expect(await search('metrics.m != 0')).toBe('r1 r2 r3')
        expect(await search('metrics.m > -1 AND metrics.m < 0.5')).toBe('r0')
        expect(await search("metrics.m > 0 AND run_name = 'r1' AND user_id = 'u'")).toBe('r1')
      },
    )
  })

  test('in an order numbers come first, then NaN, then what is missing, in both directions', async () => {
    const values = [0.5, Number.NaN, undefined, -1, 0.5]
    const logged = (i: number) => ({
      metrics: values[i] === undefined ? [] : [metric('m', values[i])],
      tags: i === 1 ? [] : [{ key: 't', value: 'aBCc'[i % 4] }],
    })
    await withRuns(5, logged, async search => {
      expect(await search(undefined, ['metrics.m', 'start_time'])).toBe('r3 r0 r4 r1 r2')
      expect(await search(undefined, ['metrics.m DESC', 'start_time'])).toBe('r0 r4 r3 r1 r2')
      expect(await search(undefined, ['metrics.m DESC'])).toBe('r4 r0 r3 r1 r2')
      expect(await search(undefined, ['tags.t', 'start_time'])).toBe('r2 r0 r4 r3 r1')
      expect(await search(undefined, ['tags.t DESC', 'start_time'])).toBe('r3 r0 r4 r2 r1')
      expect(await search(undefined, ['end_time DESC', 'run_name'])).toBe('r0 r1 r2 r3 r4')
      expect(await search(undefined, [])).toBe('r4 r3 r2 r1 r0')
    })
  })

  test('attributes, lists and view types', async () => {
    await withRuns(4, undefined, async (search, world, ids) => {
      await world.runs.deleteRun({ runId: ids[2] })
      expect(await search(`run_id IN ('${ids[0]}', '${ids[3]}', 'x')`)).toBe('r0 r3')
      expect(await search(`run_id NOT IN ('${ids[0]}', 'x')`)).toBe('r1 r3')
      expect(await search(`start_time > ${START + 1000n}`)).toBe('r3')
      expect(await search(`start_time >= ${START}.5`)).toBe('r1 r3')
      expect(await search("attributes.run_name ILIKE 'R%' AND status = 'RUNNING'")).toBe('r0 r1 r3')
      expect(await search("attributes.artifact_uri LIKE '%/artifacts'")).toBe('r0 r1 r3')
      expect(await search(undefined, undefined, { runViewType: ViewType.DELETED_ONLY })).toBe('r2')
      expect(await search(undefined, undefined, { runViewType: ViewType.ALL })).toBe('r0 r1 r2 r3')
      expect(await search(undefined, undefined, { experimentIds: [] })).toBe('')
      expect(await search(undefined, undefined, { experimentIds: ['999999999', '0'] })).toBe('')
    })
  })

  test('data sets and their context', async () => {
    await withRuns(3, undefined, async (search, world, ids) => {
      const dataset = { name: 'iris', digest: 'd1', sourceType: 'local', source: 's' }
      const tags = [{ key: 'mlflow.data.context', value: 'train' }]
      await world.runs.logInputs({ runId: ids[0], datasets: [{ dataset, tags }] })
      await world.runs.logInputs({ runId: ids[1], datasets: [{ dataset }, { dataset: { ...dataset, name: 'wine' } }] })
      expect(await search("dataset.name = 'iris'")).toBe('r0 r1')
      expect(await search("dataset.name != 'iris'")).toBe('r1')
      expect(await search("datasets.digest IN ('d1') AND dataset.context ILIKE 'TRAIN'")).toBe('r0')
      expect(await search("dataset.context NOT IN ('test')")).toBe('r0')
    })
  })

  test('pages follow each other while runs arrive, and tokens of MLflow are taken', async () => {
    await withRuns(25, undefined, async (_, world, ids) => {
      const experimentId = (await world.runs.getRun({ runId: ids[0] })).run?.info?.experimentId ?? ''
      const seen: (string | undefined)[] = []
      let pageToken: string | undefined
      do {
        const page = await world.runs.searchRuns({ experimentIds: [experimentId], maxResults: 10, pageToken })
        seen.push(...page.runs.map(run => run.info?.runId))
        pageToken = page.nextPageToken
        await world.runs.createRun({ experimentId, startTime: START + 10_000_000n })
      } while (pageToken)
      expect(seen).toEqual(ids.toReversed())
      const offset = Buffer.from('{"offset": 23}').toString('base64')
      const rest = await world.runs.searchRuns({ experimentIds: [experimentId], orderBy: ['start_time'], pageToken: offset, maxResults: 2 })
      expect(rest.runs.map(run => run.info?.runId)).toEqual(ids.slice(23))
      expect(rest.nextPageToken).toBe(Buffer.from('{"offset": 25}').toString('base64'))
    })
  })

  test('digits of other scripts are refused, ids at both ends of 64 bits are none', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    for (const filter of ['start_time >= \u0663', 'end_time < \u0663']) {
      expect(await refusal(world.runs.searchRuns({ filter }))).toMatch(/^INVALID_PARAMETER_VALUE: /)
    }
    const experimentIds = ['-9223372036854775808', '9223372036854775807']
    expect((await world.runs.searchRuns({ experimentIds })).runs).toEqual([])
  })

  test('a token of another query says how many runs to skip, as in MLflow', async () => {
    await withRuns(
      8,
      i => ({ params: [{ key: 'even', value: `${i % 2 === 0}` }] }),
      async (_, world, ids) => {
        const experimentId = (await world.runs.getRun({ runId: ids[0] })).run?.info?.experimentId ?? ''
        const search = async (request: object) => {
          const { runs, nextPageToken } = await world.runs.searchRuns({ experimentIds: [experimentId], maxResults: 3, ...request })
          return { names: runs.map(run => run.info?.runName), nextPageToken }
        }
        const { nextPageToken: pageToken } = await search({})
        expect((await search({ pageToken })).names).toEqual(['r4', 'r3', 'r2'])
        expect((await search({ pageToken, maxResults: 1 })).names).toEqual(['r4'])
        expect((await search({ pageToken, filter: "params.even = 'true'" })).names).toEqual(['r0'])
        expect((await search({ pageToken, runViewType: ViewType.ALL })).names).toEqual(['r4', 'r3', 'r2'])
        await world.runs.deleteRun({ runId: ids[7] })
        expect((await search({ pageToken, runViewType: ViewType.DELETED_ONLY })).names).toEqual([])
        expect((await search({ pageToken, experimentIds: [experimentId, '0'] })).names).toEqual(['r3', 'r2', 'r1'])
      },
    )
  })

  test('a page of a thousand runs holds each run whole and in order', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experimentId = '' } = await world.experiments.createExperiment({ name: 'many' })
    const made = await Promise.all(
      Array.from({ length: 1005 }, async (_, i) => {
        const { run } = await world.runs.createRun({ experimentId, runName: `r${i}`, startTime: BigInt(i) })
        const runId = run?.info?.runId ?? ''
        await world.runs.logBatch({
          runId,
          metrics: [metric('m', i)],
          params: [{ key: 'p', value: `${i}` }],
          tags: [{ key: 't', value: `${i}` }],
        })
        return runId
      }),
    )
    const page = await world.runs.searchRuns({ experimentIds: [experimentId], orderBy: ['metrics.m DESC'] })
    expect(page.runs.length).toBe(1000)
    expect(page.nextPageToken).toBeDefined()
    page.runs.forEach((run, i) => {
      const n = 1004 - i
      expect(run.info?.runId).toBe(made[n])
      expect(run.data?.metrics.map(m => [m.key, m.value])).toEqual([['m', n]])
      expect(run.data?.params.map(p => p.value)).toEqual([`${n}`])
      expect(run.data?.tags.map(t => t.value).sort()).toEqual([`${n}`, `r${n}`].sort())
    })
  })

  test('limits', async () => {
    await withRuns(1, undefined, async (_, world) => {
      const search = (maxResults: number) => refusal(world.runs.searchRuns({ experimentIds: ['0'], maxResults }))
      expect(await search(0)).toBe(
        "INVALID_PARAMETER_VALUE: Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer",
      )
      expect(await search(50_001)).toBe(
        "INVALID_PARAMETER_VALUE: Invalid value 50001 for parameter 'max_results' supplied. It must be at most 50000",
      )
      expect(await refusal(world.runs.searchRuns({ experimentIds: ['abc'] }))).toBe(
        "INVALID_PARAMETER_VALUE: Invalid experiment ID 'abc'. Experiment ID must be a valid integer.",
      )
      expect(await refusal(world.runs.searchRuns({ experimentIds: ['9'.repeat(30)] }))).toMatch(/^INVALID_PARAMETER_VALUE/)
      expect(await refusal(world.runs.getRun({ runId: 'nope' }))).toBe('RESOURCE_DOES_NOT_EXIST: Run with id=nope not found')
    })
  })

  test('whoever searches sees what was acknowledged before, however many ask for the same', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experimentId } = await world.newRun()
    const logAndSearch = async (name: string) => {
      for (let i = 0; i < 10; i++) {
        const { run } = await world.runs.createRun({ experimentId })
        const runId = run?.info?.runId ?? ''
        await world.runs.logBatch({ runId, params: [{ key: 'of', value: `${name} ${i}` }] })
        const { runs } = await world.runs.searchRuns({ experimentIds: [experimentId], maxResults: 1000 })
        expect(runs.find(found => found.info?.runId === runId)?.data?.params.map(p => p.value)).toEqual([`${name} ${i}`])
      }
    }
    await Promise.all(Array.from({ length: 8 }, (_, i) => logAndSearch(`client ${i}`)))
  })
})
