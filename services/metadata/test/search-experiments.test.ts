import { DatabaseSync } from 'node:sqlite'
import { ViewType } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { expect, test } from 'vitest'
import { query } from '../../../test/services/postgres.ts'
import { onEachWay, refusal } from './world.ts'

onEachWay('search of experiments', (create, openWorld) => {
  test('filters, orders, views and pages', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experiments } = world
    const ids: Record<string, string> = {}
    for (const [name, team] of [
      ['alpha', 'x'],
      ['Beta', 'y'],
      ['gamma%', 'X'],
      ['delta', undefined],
    ] as const) {
      const tags = team ? [{ key: 'team', value: team }] : []
      ids[name] = (await experiments.createExperiment({ name, tags })).experimentId ?? ''
    }
    await experiments.deleteExperiment({ experimentId: ids.delta })
    const search = async (filter?: string, orderBy = ['name'], more = {}) => {
      const answer = await experiments.searchExperiments({ filter, orderBy, maxResults: 100n, ...more })
      return answer.experiments.map(e => e.name).join(' ')
    }
    expect(await search()).toBe('Beta Default alpha gamma%')
    expect(await search("name LIKE 'b%'")).toBe('')
    expect(await search("name ILIKE 'b%' AND tags.team != 'x'")).toBe('Beta')
    expect(await search("tags.team ILIKE 'x'")).toBe('alpha gamma%')
    expect(await search('tags.team IS NULL')).toBe('Default')
    expect(await search(`experiment_id NOT IN ('${ids.Beta}', '0')`)).toBe('alpha gamma%')
    expect(await search(`experiment_id = '${ids.Beta}' AND creation_time > 0 AND last_update_time != 5`)).toBe('Beta')
    expect(await search(undefined, ['experiment_id DESC'])).toBe('gamma% Beta alpha Default')
    expect(await search(undefined, undefined, { viewType: ViewType.DELETED_ONLY })).toBe('delta')
    expect(await search(undefined, undefined, { viewType: ViewType.ALL })).toBe('Beta Default alpha delta gamma%')

    const first = await experiments.searchExperiments({ maxResults: 3n, orderBy: ['name'] })
    expect(first.nextPageToken).toBe(Buffer.from('{"offset": 3}').toString('base64'))
    const rest = await experiments.searchExperiments({ maxResults: 3n, orderBy: ['name'], pageToken: first.nextPageToken })
    expect(rest.experiments.map(e => e.name)).toEqual(['gamma%'])
    expect(rest.nextPageToken).toBeUndefined()
    expect(rest.experiments[0]).toMatchObject({ workspace: 'default', tags: [{ key: 'team', value: 'X' }] })
    expect(await refusal(experiments.searchExperiments({}))).toMatch(
      /^INVALID_PARAMETER_VALUE: Invalid value 0 for parameter 'max_results'/,
    )
  })

  test('a page costs what it holds, not all experiments times their tags', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const add = async (from: number, to: number) => {
      const numbers = `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${to - 1})`
      const columns = 'experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace'
      await execute(
        database.url,
        `INSERT INTO experiments (${columns}) ${numbers} SELECT i, 'e' || i, 'x', 'active', i, i, 'default' FROM n`,
      )
      for (const key of ['b', 'a']) {
        await execute(
          database.url,
          `INSERT INTO experiment_tags (key, value, experiment_id) ${numbers} SELECT '${key}', 'v' || i, i FROM n`,
        )
      }
    }
    const page = async () => {
      const start = performance.now()
      const { experiments } = await world.experiments.searchExperiments({ maxResults: 100n, orderBy: ['experiment_id DESC'] })
      expect(experiments).toHaveLength(100)
      for (const { experimentId, tags } of experiments) {
        expect(tags.map(({ key, value }) => `${key}=${value}`)).toEqual([`b=v${experimentId}`, `a=v${experimentId}`])
      }
      return performance.now() - start
    }
    const fastest = async () => Math.min(await page(), await page(), await page())
    await add(1000, 1200)
    const small = await fastest()
    await add(2000, 8000)
    expect(await fastest()).toBeLessThan(20 * Math.max(small, 10))
  })
})

async function execute(url: string, sql: string): Promise<void> {
  if (!url.startsWith('sqlite:')) return void (await query(url, sql))
  using database = new DatabaseSync(url.replace('sqlite:///', ''))
  database.exec(`PRAGMA busy_timeout = 5000; ${sql}`)
}
