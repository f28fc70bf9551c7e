import { type Client, createClient } from '@connectrpc/connect'
import { LoggedModelService, LoggedModelStatus } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { onEachWay, refusal, type TestDatabase, type World } from './world.ts'

type Order = { fieldName?: string; ascending?: boolean; datasetName?: string; datasetDigest?: string }
type Search = { filter?: string; orderBy?: Order[]; datasets?: { datasetName?: string; datasetDigest?: string }[] }
type Point = [key: string, value: number, timestamp?: number, step?: number, dataset?: string, digest?: string]

/** By name; `b` has metrics of another run too, `c` none. */
const POINTS: Record<string, Point[]> = {
  a: [
    ['acc', 0.9, 5, 0, 'train', '1'],
    ['acc', 0.1, 6, 0, 'train', '1'],
    ['acc', 0.5, 6, 1, 'test', '1'],
  ],
  b: [
    ['acc', 0.4, 9, 0, 'train', '2'],
    ['a b', 7],
  ],
  C: [],
  d: [['acc', 0.45, 1, 0]],
}

onEachWay('search for logged models', (create, openWorld) => {
  let database: TestDatabase
  let world: World
  let models: Client<typeof LoggedModelService>
  let experimentIds: string[]
  const ids: Record<string, string> = {}

  beforeAll(async () => {
    database = await create()
    world = await openWorld(database.url)
    models = createClient(LoggedModelService, world.transport)
    const { experimentId, runId } = await world.newRun()
    experimentIds = [experimentId]
    let i = 0
    for (const [name, points] of Object.entries(POINTS)) {
      const params = [
        { key: 'lr', value: `0.${++i}` },
        { key: 'x', value: '' },
      ]
      const tags = [{ key: 'a b', value: name === 'a' ? "it's" : `"${name}"` }]
      const { model } = await models.createLoggedModel({ experimentId, name, modelType: i % 2 ? 'T' : '', params, tags })
      const modelId = model?.info?.modelId ?? ''
      ids[name] = modelId
      for (const [key, value, timestamp = 1, step = 0, datasetName, datasetDigest] of points) {
        const at = { timestamp: BigInt(timestamp), step: BigInt(step) }
        await world.metrics.logMetric({ runId, key, value, ...at, modelId, datasetName, datasetDigest })
      }
      await new Promise(resolve => setTimeout(resolve, 3))
    }
    await models.finalizeLoggedModel({ modelId: ids.b, status: LoggedModelStatus.LOGGED_MODEL_READY })
    const gone = await models.createLoggedModel({ experimentId, name: 'gone' })
    await models.deleteLoggedModel({ modelId: gone.model?.info?.modelId })
    await models.createLoggedModel({ experimentId: '0', name: 'elsewhere' })
  })

  afterAll(async () => {
    await world?.[Symbol.asyncDispose]()
    await database?.[Symbol.asyncDispose]()
  })

  /** Names in the order found, as one word. */
  async function found(search: Search): Promise<string> {
    const answer = await models.searchLoggedModels({ experimentIds, ...search })
    return answer.models.map(model => model.info?.name).join('')
  }

  test('active models of the experiments come newest first, whole', async () => {
    const { models: all } = await models.searchLoggedModels({ experimentIds })
    expect(all.map(model => model.info?.name)).toEqual(['d', 'C', 'b', 'a'])
    expect(all[3]?.data).toMatchObject({ params: [{ key: 'lr' }, { key: 'x' }] })
    expect(all[3]?.data?.metrics.map(({ value, datasetName }) => `${datasetName} ${value}`).toSorted()).toEqual([
      'test 0.5',
      'train 0.1',
      'train 0.9',
    ])
    expect((await models.searchLoggedModels({ experimentIds: ['0', ...experimentIds] })).models.length).toBe(5)
    expect((await models.searchLoggedModels({ experimentIds: ['12345'] })).models).toEqual([])
  })

  test.each([
    ["name = 'a'", 'a'],
    ['name = a', 'a'],
    ['name = "a"', ''],
    ["attributes.name != 'a'", 'dCb'],
    ["name LIKE 'c'", ''],
    ["name ilike 'c'", 'C'],
    ["name IN ('a', 'b', 'none')", 'ba'],
    ["name in ('a')", 'a'],
    ["attributes.name NOT IN ('a', 'b')", 'dC'],
    ["name NOT IN ('none',) AND name LIKE '_'", 'dCba'],
    ["model_type = 'T'", 'Ca'],
    ["model_type = ''", 'db'],
    ["status = '2'", 'b'],
    ['status = 2', 'b'],
    ["status != '2'", 'dCa'],
    ["status IN ('2', '3')", 'b'],
    ["status = 'READY'", ''],
    ["artifact_location LIKE '%/models/%' AND lifecycle_stage = 'active'", 'dCba'],
    ["lifecycle_stage = 'deleted'", ''],
    ["source_run_id = '' AND status_message = 'x'", ''],
    ['creation_timestamp > 0 AND creation_time >= 1.5 AND creation_timestamp_ms != 7', 'dCba'],
    ['last_updated_timestamp < 5', ''],
    ['attributes.last_updated_timestamp_ms > 1e3', 'dCba'],
    ["params.lr = '0.1'", 'a'],
    ['params.lr = 0.1', 'a'],
    ['params.lr IN (0.1, "0.2")', 'ba'],
    ["params.`lr` != '0.1'", 'dCb'],
    ["params.none != '0.1'", ''],
    ["params.x = ''", 'dCba'],
    ["params.lr LIKE '0.%' and params.lr ILIKE '%4'", 'd'],
    ["tags.`a b` LIKE 'it_s'", 'a'],
    ['tags.`a b` = "b"', 'b'],
    ['metrics.acc > 0.8', 'a'],
    ['metrics.acc < 0.2', 'a'],
    ['metrics.acc > 0.8 AND metrics.acc < 0.2', 'a'],
    ['metrics.acc = 0.4', 'b'],
    ['metrics.acc != 0.4', 'da'],
    ['metrics.acc < inf AND metrics.acc > -1e308', 'dba'],
    ['metrics.`a b` >= 7', 'b'],
    ["metrics.acc > 0.3 AND params.lr != '0.1' AND model_type = ''", 'db'],
    ['metrics.none > 0', ''],
  ])('%s finds %j', async (filter, expected) => {
    expect(await found({ filter })).toBe(expected)
  })

  test.each<[string, Order[], string]>([
    ['the name by code point', [{ fieldName: 'name' }], 'Cabd'],
    ['the name, descending', [{ fieldName: 'name', ascending: false }], 'dbaC'],
    ['an attribute, then what is newest', [{ fieldName: 'model_type', ascending: false }], 'Cadb'],
    ['two attributes', [{ fieldName: 'model_type' }, { fieldName: 'creation_timestamp' }], 'bdaC'],
    ['the status', [{ fieldName: 'status', ascending: false }], 'bdCa'],
    ['the time of creation', [{ fieldName: 'creation_timestamp_ms' }], 'abCd'],
    ['the time of update', [{ fieldName: 'last_updated_timestamp', ascending: false }], 'bdCa'],
    ['a metric by its latest point, those without it last', [{ fieldName: 'metrics.acc' }], 'bdaC'],
    ['a metric, descending, those without it last', [{ fieldName: 'metrics.acc', ascending: false }], 'adbC'],
    ['a metric of a data set', [{ fieldName: 'metrics.acc', datasetName: 'train' }], 'abdC'],
    ['a metric of a version of it', [{ fieldName: 'metrics.acc', datasetName: 'train', datasetDigest: '2' }], 'bdCa'],
    ['a metric of a digest', [{ fieldName: 'metrics.acc', datasetDigest: '1' }], 'adCb'],
    ['a metric whose name has blanks', [{ fieldName: 'metrics.a b' }], 'bdCa'],
    ['two metrics', [{ fieldName: 'metrics.a b' }, { fieldName: 'metrics.acc', ascending: false }], 'badC'],
  ])('models are ordered by %s', async (_, orderBy, expected) => {
    expect(await found({ orderBy })).toBe(expected)
  })

  test.each<[Search['datasets'], string, string]>([
    [[{ datasetName: 'train', datasetDigest: '1' }], '', 'a'],
    [[{ datasetName: 'train', datasetDigest: '2' }], '', 'b'],
    [[{ datasetName: 'train' }], '', ''],
    [
      [
        { datasetName: 'train', datasetDigest: '2' },
        { datasetName: 'test', datasetDigest: '1' },
      ],
      '',
      'ba',
    ],
    [[{ datasetName: 'train', datasetDigest: '1' }], 'metrics.acc > 0.4 AND metrics.acc < 0.2', 'a'],
    [[{ datasetName: 'test', datasetDigest: '1' }], 'metrics.acc > 0.8', ''],
    [[{ datasetName: 'train', datasetDigest: '1' }], "name = 'b'", ''],
  ])('of the data sets %j the filter %j finds %j', async (datasets, filter, expected) => {
    expect(await found({ datasets, filter })).toBe(expected)
  })

  test.each([
    "foo = 'x'",
    'attributes.creation_time > 1',
    "metrics.acc > '0.1'",
    'metrics.acc > x',
    'creation_time > 1_',
    "name = ('a')",
    "name IN ('a', None)",
    'name IN (1)',
    'name IN (a)',
  ])('the filter %s, with which MLflow fails, is refused', async filter => {
    expect(await refusal(models.searchLoggedModels({ experimentIds, filter }))).toMatch(/^(INVALID_PARAMETER_VALUE|BAD_REQUEST): /)
  })

  test('an order by something unknown has an error class of its own, a data set needs a name', async () => {
    const failure = await models.searchLoggedModels({ experimentIds, orderBy: [{ fieldName: 'zz' }] }).catch(reason => reason)
    expect(failure).toMatchObject({ errorClass: 'ATTRIBUTE_NOT_FOUND', sqlstate: 'KAM04' })
    expect(await refusal(models.searchLoggedModels({ experimentIds, datasets: [{ datasetDigest: '1' }] }))).toBe(
      'INVALID_PARAMETER_VALUE: `dataset_name` in the `datasets` clause must be specified.',
    )
  })

  test('pages hold every model once, in order, and a metric with many points counts once', async () => {
    const search = { experimentIds, filter: 'metrics.acc >= 0.1', orderBy: [{ fieldName: 'metrics.acc' }], maxResults: 1 }
    const names: unknown[] = []
    let pageToken = ''
    do {
      const page = await models.searchLoggedModels({ ...search, pageToken })
      names.push(page.models.map(model => model.info?.name).join())
      pageToken = page.nextPageToken ?? ''
    } while (pageToken)
    expect(names).toEqual(['b', 'd', 'a'])
  })

  test('a page token is of one query and can be read by MLflow', async () => {
    const query = { experimentIds, filter: "name != 'x'", orderBy: [{ fieldName: 'name', datasetName: 'd' }], maxResults: 1 }
    const { nextPageToken: pageToken = '' } = await models.searchLoggedModels(query)
    expect(JSON.parse(Buffer.from(pageToken, 'base64').toString())).toEqual({
      experiment_ids: experimentIds,
      filter_string: "name != 'x'",
      order_by: [{ field_name: 'name', ascending: true, dataset_name: 'd', dataset_digest: null }],
      offset: 1,
    })
    const [id] = experimentIds
    const other = (change: object) => refusal(models.searchLoggedModels({ ...query, pageToken, ...change }))
    const code = 'INVALID_PARAMETER_VALUE'
    expect(await other({ maxResults: 3, datasets: [] })).toBe('accepted')
    expect(await other({ experimentIds: ['7', id] })).toBe(
      `${code}: Experiment IDs in the page token do not match the requested experiment IDs. Expected: ['7', '${id}']. Found: ['${id}']`,
    )
    expect(await other({ filter: '' })).toBe(
      `${code}: Filter string in the page token does not match the requested filter string. Expected: None. Found: name != 'x'`,
    )
    expect(await other({ orderBy: [{ fieldName: 'name', ascending: false }] })).toBe(
      `${code}: Order by in the page token does not match the requested order by. ` +
        "Expected: [{'field_name': 'name', 'ascending': False, 'dataset_name': None, 'dataset_digest': None}]. " +
        "Found: [{'field_name': 'name', 'ascending': True, 'dataset_name': 'd', 'dataset_digest': None}]",
    )
    expect(await other({ pageToken: '!' })).toBe(`${code}: Invalid page token: !. Expecting value: line 1 column 1 (char 0)`)
    for (const text of ['[]', '5', 'null', `{"experiment_ids":["${id}"],"offset":0.5}`]) {
      const token = Buffer.from(text).toString('base64')
      expect(await refusal(models.searchLoggedModels({ experimentIds, pageToken: token }))).toMatch(
        /^INVALID_PARAMETER_VALUE: Invalid page/,
      )
    }
  })

  test('a page has 50 models when the request does not say, 100 when it says 0, and never fails for too many', async () => {
    const { experimentId } = await world.newRun()
    await Promise.all(Array.from({ length: 101 }, (_, i) => models.createLoggedModel({ experimentId, name: `m${i}` })))
    const size = async (maxResults?: number) =>
      (await models.searchLoggedModels({ experimentIds: [experimentId], maxResults })).models.length
    expect([await size(), await size(0), await size(101), await size(2 ** 31 - 1)]).toEqual([50, 100, 101, 101])
    const negative = 'INVALID_PARAMETER_VALUE: Invalid value -1 for parameter'
    expect(await refusal(models.searchLoggedModels({ experimentIds, maxResults: -1 }))).toContain(negative)
  })
})
