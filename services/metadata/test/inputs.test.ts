import { createClient } from '@connectrpc/connect'
import { DatasetService } from '@millrace/proto/millrace/tracking/v1/datasets_pb'
import { LoggedModelService, LoggedModelStatus } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { expect, test } from 'vitest'
import { onEachWay, refusal } from './world.ts'

const iris = { name: 'iris', digest: '1', sourceType: 'local', source: 'iris.csv', schema: '{}', profile: '{"rows":5}' }
const context = (value: string) => [{ key: 'mlflow.data.context', value }]

onEachWay('inputs and outputs', (create, openWorld) => {
  test('data sets come back with the run; the first of equals counts and a repeated call changes nothing', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runs } = world
    const { experimentId, runId } = await world.newRun()
    const datasets = [
      { dataset: iris, tags: context('train') },
      { dataset: { ...iris, source: 'other' }, tags: context('test') },
      { dataset: { ...iris, digest: '2' } },
    ]
    await runs.logInputs({ runId, datasets })
    await runs.logInputs({ runId, datasets: [{ dataset: iris, tags: context('late') }] })
    const { inputs } = (await runs.getRun({ runId })).run ?? {}
    expect(inputs?.datasetInputs).toMatchObject([
      { dataset: iris, tags: context('train') },
      { dataset: { digest: '2' }, tags: [] },
    ])

    const found = await createClient(DatasetService, world.transport).searchDatasets({ experimentIds: [experimentId] })
    expect(found.datasetSummaries).toMatchObject([
      { experimentId, name: 'iris', digest: '1', context: 'train' },
      { experimentId, name: 'iris', digest: '2' },
    ])
    expect(found.datasetSummaries[1]?.context).toBeUndefined()
  })

  test('data sets of an experiment are found in one order on every database', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experimentId, runId } = await world.newRun()
    const second = (await world.runs.createRun({ experimentId })).run?.info?.runId ?? ''
    const named = (name: string, tags: { key: string; value: string }[] = []) => ({ dataset: { ...iris, name }, tags })
    await world.runs.logInputs({ runId, datasets: [named('b'), named('B', context('train')), named('a', context('test'))] })
    await world.runs.logInputs({ runId: second, datasets: [named('b', context('eval')), named('a')] })
    const found = await createClient(DatasetService, world.transport).searchDatasets({ experimentIds: [experimentId] })
    expect(found.datasetSummaries.map(summary => [summary.name, summary.context])).toEqual([
      ['B', 'train'],
      ['a', undefined],
      ['a', 'test'],
      ['b', undefined],
      ['b', 'eval'],
    ])
  })

  test('eight callers that log the same data sets agree on one of each', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experimentId } = await world.newRun()
    const made = await Promise.all(Array.from({ length: 8 }, () => world.runs.createRun({ experimentId })))
    const datasets = Array.from({ length: 20 }, (_, i) => ({ dataset: { ...iris, name: `d${i}` } }))
    await Promise.all(
      made.map(({ run }, i) => world.runs.logInputs({ runId: run?.info?.runId, datasets: i % 2 ? datasets : datasets.toReversed() })),
    )
    const found = await createClient(DatasetService, world.transport).searchDatasets({ experimentIds: [experimentId] })
    expect(found.datasetSummaries.length).toBe(20)
    const runs = await world.runs.searchRuns({ experimentIds: [experimentId], filter: "dataset.name = 'd7'" })
    expect(runs.runs.length).toBe(8)
  })

  test('lengths are counted in characters; deleted and unknown runs are refused', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const log = (dataset: object, id = runId) =>
      refusal(world.runs.logInputs({ runId: id, datasets: [{ dataset: { ...iris, ...dataset } }] }))
    expect(await log({ name: '😀'.repeat(500) })).toBe('accepted')
    expect(await log({ name: 'n'.repeat(501) })).toBe("INVALID_PARAMETER_VALUE: 'name' exceeds the maximum length of 500 characters")
    expect(await log({ digest: 'n'.repeat(37) })).toMatch(/'digest' exceeds the maximum length of 36 characters/)
    expect(await log({ source: 'n'.repeat(65_536) })).toMatch(/'source' exceeds the maximum length of 65535 characters/)
    expect(await log({}, '../zz')).toBe(`INVALID_PARAMETER_VALUE: Invalid value "../zz" for parameter 'run_id' supplied.`)
    expect(await log({}, 'nope')).toBe('RESOURCE_DOES_NOT_EXIST: Run with id=nope not found')
    await world.runs.deleteRun({ runId })
    expect(await log({})).toBe(`INVALID_PARAMETER_VALUE: The run ${runId} must be in the 'active' state. Current state is deleted.`)
  })

  test('models that go in and come out', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runs } = world
    const { experimentId, runId } = await world.newRun()
    const models = createClient(LoggedModelService, world.transport)
    const request = { experimentId, name: 'm', sourceRunId: runId, params: [{ key: 'p', value: '1' }], tags: [{ key: 't', value: 'x' }] }
    const { model } = await models.createLoggedModel(request)
    const modelId = model?.info?.modelId ?? ''
    expect(model).toMatchObject({
      info: { name: 'm', status: LoggedModelStatus.LOGGED_MODEL_PENDING, sourceRunId: runId },
      data: { params: request.params },
    })
    expect(model?.info?.artifactUri).toMatch(new RegExp(`/${experimentId}/models/${modelId}/artifacts$`))
    await models.finalizeLoggedModel({ modelId, status: LoggedModelStatus.LOGGED_MODEL_READY })
    expect((await models.getLoggedModel({ modelId })).model?.info?.status).toBe(LoggedModelStatus.LOGGED_MODEL_READY)
    expect(await refusal(models.getLoggedModel({ modelId: 'm-x' }))).toBe("RESOURCE_DOES_NOT_EXIST: Logged model with ID 'm-x' not found.")
    expect(await refusal(models.createLoggedModel({ experimentId, name: 'a/b' }))).toMatch(/Invalid model name \('a\/b'\)/)

    await runs.logInputs({ runId, models: [{ modelId }] })
    await runs.logInputs({ runId, models: [{ modelId }] })
    await runs.logOutputs({ runId, models: [{ modelId, step: -3n }] })
    expect(await refusal(runs.logOutputs({ runId, models: [{ modelId, step: 4n }] }))).toMatch(/^BAD_REQUEST/)
    const { inputs, outputs } = (await runs.getRun({ runId })).run ?? {}
    expect(inputs?.modelInputs).toMatchObject([{ modelId }])
    expect(outputs?.modelOutputs).toMatchObject([{ modelId, step: -3n }])
    const [found] = (await runs.searchRuns({ experimentIds: [experimentId] })).runs
    expect(found).toMatchObject({ inputs: { modelInputs: [] }, outputs: { modelOutputs: [{ modelId }] } })
  })

  test('models of a run come by id, however they were logged', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { experimentId, runId } = await world.newRun()
    const ids = ['m-b', 'm-a', 'm-B', '', 'm-c']
    for (const modelId of ids) {
      await world.runs.logInputs({ runId, models: [{ modelId }] })
      await world.runs.logOutputs({ runId, models: [{ modelId, step: 1n }] })
    }
    const ordered = ['', 'm-B', 'm-a', 'm-b', 'm-c']
    const { inputs, outputs } = (await world.runs.getRun({ runId })).run ?? {}
    expect(inputs?.modelInputs.map(model => model.modelId)).toEqual(ordered)
    expect(outputs?.modelOutputs.map(model => model.modelId)).toEqual(ordered)
    const [found] = (await world.runs.searchRuns({ experimentIds: [experimentId] })).runs
    expect(found?.outputs?.modelOutputs.map(model => model.modelId)).toEqual(ordered)
  })

  test('log-model appends to a tag in the text that Python writes', async () => {
    await using database = await create()
    await using world = await openWorld(database.url)
    const { runId } = await world.newRun()
    const log = (modelJson: string) => world.runs.logModel({ runId, modelJson })
    const model =
      '{"artifact_path":"a","flavors":{"f":{"v":1.0,"n":12345678901234567890,"config":1,"é":"😀"},"g":"s"},"utc_time_created":"2020","run_id":"q"}'
    await log(model)
    await log('{"artifact_path":"b","flavors":{},"utc_time_created":"2021","run_id":"q","model_uuid":"u","more":1}')
    expect((await world.read(runId)).tags['mlflow.log-model.history']).toBe(
      '[{"run_id": "q", "artifact_path": "a", "utc_time_created": "2020", "model_uuid": null, "flavors": {"f": {"v": 1.0, ' +
        '"n": 12345678901234567890, "\\u00e9": "\\ud83d\\ude00"}, "g": "s"}}, ' +
        '{"run_id": "q", "artifact_path": "b", "utc_time_created": "2021", "model_uuid": "u", "flavors": {}}]',
    )
    expect(await refusal(log('x'))).toMatch(/^INVALID_PARAMETER_VALUE: Malformed model info/)
    expect(await refusal(log('{"artifact_path":"a","utc_time_created":"2020","run_id":"q"}'))).toBe(
      "INVALID_PARAMETER_VALUE: Model json is missing mandatory fields: {'flavors'}",
    )
    await log('{"artifact_path":"c","flavors":{"f":[NaN,-Infinity,1e5,1E22,-0.0]},"utc_time_created":5,"run_id":null}')
    expect((await world.read(runId)).tags['mlflow.log-model.history']).toContain(
      '{"artifact_path": "c", "utc_time_created": "5", "model_uuid": null, "flavors": {"f": [NaN, -Infinity, 100000.0, 1e+22, -0.0]}}]',
    )
    await world.runs.setTag({ runId, key: 'mlflow.log-model.history', value: '{}' })
    expect(await refusal(log(model))).toBe('BAD_REQUEST: The tag mlflow.log-model.history holds no list')
    for (const flavors of ['""', '5', '[]']) {
      const model = `{"artifact_path":"a","flavors":${flavors},"utc_time_created":"2020","run_id":"q"}`
      expect(await refusal(log(model))).toBe('INVALID_PARAMETER_VALUE: Model info is malformed: flavors must be a JSON object.')
    }
  })
})
