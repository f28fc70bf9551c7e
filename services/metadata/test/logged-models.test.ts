import { type Client, createClient } from '@connectrpc/connect'
import { LoggedModelService, LoggedModelStatus } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { expect, test } from 'vitest'
import { onEachWay, refusal } from './world.ts'

type Models = Client<typeof LoggedModelService>

const pairs = (list: { key?: string; value?: string }[] = []) => list.map(({ key, value }) => `${key}=${value}`).toSorted()

async function create(models: Models, experimentId: string, more = {}): Promise<string> {
  const { model } = await models.createLoggedModel({ experimentId, name: 'm', ...more })
  return model?.info?.modelId ?? ''
}

async function read(models: Models, modelId: string) {
  const { model } = await models.getLoggedModel({ modelId, allowDeleted: true })
  return { tags: pairs(model?.info?.tags), params: pairs(model?.data?.params), updated: model?.info?.lastUpdatedTimestampMs ?? 0n }
}

const absent = "RESOURCE_DOES_NOT_EXIST: Logged model with ID 'm-x' not found."

onEachWay('logged models', (createDatabase, openWorld) => {
  test('tags are set, replaced and removed; the last of equal keys counts', async () => {
    await using database = await createDatabase()
    await using world = await openWorld(database.url)
    const models = createClient(LoggedModelService, world.transport)
    const modelId = await create(models, '0', { tags: [{ key: 'a', value: '1' }] })
    const { updated } = await read(models, modelId)
    const tags = ['b=1', 'a=2', 'b=3', "it's/=x", '=y'].map(text => ({ key: text.split('=')[0], value: text.split('=')[1] }))
    await models.setLoggedModelTags({ modelId, tags: [...tags, { key: 'none' }] })
    await models.setLoggedModelTags({ modelId })
    expect((await read(models, modelId)).tags).toEqual(['=y', 'a=2', 'b=3', "it's/=x", 'none='])
    await models.deleteLoggedModelTag({ modelId, tagKey: 'a' })
    await models.deleteLoggedModelTag({ modelId, tagKey: "it's/" })
    expect(await read(models, modelId)).toMatchObject({ tags: ['=y', 'b=3', 'none='], updated })
    const again = models.deleteLoggedModelTag({ modelId, tagKey: "it's/" })
    expect(await refusal(again)).toBe(`RESOURCE_DOES_NOT_EXIST: No tag with key "it's/" found for model with ID '${modelId}'.`)
    expect(await refusal(models.deleteLoggedModelTag({ modelId: 'm-x', tagKey: 'a' }))).toBe(absent)
    expect(await refusal(models.setLoggedModelTags({ modelId: 'm-x' }))).toBe(absent)
  })

  test('NaN of a metric of a model stays no number, and may be logged again', async () => {
    await using database = await createDatabase()
    await using world = await openWorld(database.url)
    const models = createClient(LoggedModelService, world.transport)
    const { experimentId, runId } = await world.newRun()
    const modelId = await create(models, experimentId)
    const point = { runId, modelId, timestamp: 1n, step: 3n }
    for (const value of [Number.NaN, Number.NaN]) await world.metrics.logMetric({ ...point, key: 'loss', value })
    await world.runs.logBatch({ runId, metrics: [{ ...point, key: 'batch', value: Number.NaN }] })
    await world.metrics.logMetric({ ...point, key: 'zero', value: -0 })
    const { model } = await models.getLoggedModel({ modelId })
    const found = await models.searchLoggedModels({ experimentIds: [experimentId] })
    for (const data of [model?.data, found.models[0]?.data]) {
      const values = Object.fromEntries(data?.metrics.map(({ key, value }) => [key, value ?? Number.NaN]) ?? [])
      expect(values).toEqual({ loss: Number.NaN, batch: Number.NaN, zero: 0 })
    }
    expect(await refusal(world.metrics.logMetric({ ...point, key: 'loss', value: 0 }))).toContain('has another value of metric')
  })

  test('more tags and params than one statement takes are set', async () => {
    await using database = await createDatabase()
    await using world = await openWorld(database.url)
    const models = createClient(LoggedModelService, world.transport)
    const modelId = await create(models, '0')
    const many = Array.from({ length: 12_000 }, (_, i) => ({ key: `k${i}`, value: 'v' }))
    await models.setLoggedModelTags({ modelId, tags: many })
    await models.logLoggedModelParams({ modelId, params: many })
    const { tags, params } = await read(models, modelId)
    expect([tags.length, params.length]).toEqual([12_000, 12_000])
  })

  test('callers that set the same tags in different orders all succeed', async () => {
    await using database = await createDatabase()
    await using world = await openWorld(database.url)
    const models = createClient(LoggedModelService, world.transport)
    const modelId = await create(models, '0')
    const tags = Array.from({ length: 50 }, (_, i) => ({ key: `k${i}`, value: 'v' }))
    const calls = Array.from({ length: 8 }, (_, i) => models.setLoggedModelTags({ modelId, tags: i % 2 ? tags : tags.toReversed() }))
    await Promise.all(calls)
    expect((await read(models, modelId)).tags.length).toBe(50)
  })

  test('params are added all or none: a key that is there or comes twice adds nothing', async () => {
    await using database = await createDatabase()
    await using world = await openWorld(database.url)
    const models = createClient(LoggedModelService, world.transport)
    const modelId = await create(models, '0', { params: [{ key: 'p', value: '1' }] })
    const { updated } = await read(models, modelId)
    const log = (...keys: string[]) => refusal(models.logLoggedModelParams({ modelId, params: keys.map(key => ({ key, value: 'v' })) }))
    expect(await log('q', 'r')).toBe('accepted')
    expect(await log()).toBe('accepted')
    expect(await log('s', 'p')).toMatch(/^BAD_REQUEST: /)
    expect(await log('t', 't')).toMatch(/^BAD_REQUEST: /)
    expect(await read(models, modelId)).toMatchObject({ params: ['p=1', 'q=v', 'r=v'], updated })
    expect(await refusal(models.logLoggedModelParams({ modelId: 'm-x' }))).toBe(absent)
  })

  test('a deleted model is found only when allowed, and still takes changes', async () => {
    await using database = await createDatabase()
    await using world = await openWorld(database.url)
    const models = createClient(LoggedModelService, world.transport)
    const { experimentId } = await world.newRun()
    const modelId = await create(models, experimentId)
    const { updated } = await read(models, modelId)
    await new Promise(resolve => setTimeout(resolve, 5))
    await models.deleteLoggedModel({ modelId })
    const gone = `RESOURCE_DOES_NOT_EXIST: Logged model with ID '${modelId}' not found.`
    expect(await refusal(models.getLoggedModel({ modelId }))).toBe(gone)
    expect((await models.searchLoggedModels({ experimentIds: [experimentId] })).models).toEqual([])
    const deleted = await read(models, modelId)
    expect(deleted.updated).toBeGreaterThan(updated)

    await models.setLoggedModelTags({ modelId, tags: [{ key: 'a', value: '1' }] })
    await models.logLoggedModelParams({ modelId, params: [{ key: 'p', value: '1' }] })
    const { model } = await models.finalizeLoggedModel({ modelId, status: LoggedModelStatus.LOGGED_MODEL_READY })
    expect(model?.info?.status).toBe(LoggedModelStatus.LOGGED_MODEL_READY)
    await new Promise(resolve => setTimeout(resolve, 5))
    await models.deleteLoggedModel({ modelId })
    const again = await read(models, modelId)
    expect(again).toMatchObject({ tags: ['a=1'], params: ['p=1'] })
    expect(again.updated).toBeGreaterThan(deleted.updated)
    expect(await refusal(models.getLoggedModel({ modelId }))).toBe(gone)
    expect(await refusal(models.deleteLoggedModel({ modelId: 'm-x' }))).toBe(absent)
    const finalize = models.finalizeLoggedModel({ modelId: 'm-x', status: LoggedModelStatus.LOGGED_MODEL_READY })
    expect(await refusal(finalize)).toBe(absent)
  })
})
