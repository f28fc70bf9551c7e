import { ViewType } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { expect, test } from 'vitest'
import { onEachDatabase, openWorld, refusal } from './world.ts'

onEachDatabase('search of experiments', create => {
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
})
