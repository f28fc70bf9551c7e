import { createClient } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node'
import { doesNotExist, invalidState, resourceExhausted } from '@millrace/kit/errors'
import { ArtifactStoreService } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { DatasetService } from '@millrace/proto/millrace/tracking/v1/datasets_pb'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { LoggedModelService } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { type GetMetricHistoryBulkRequest, type LogMetricRequest, MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { RunService, type SearchRunsRequest } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Gateway } from '../src/service.ts'
import { get, JSON_TYPE, post, some, startWith } from './fixture.ts'

const logged: LogMetricRequest[] = []
const bulk: GetMetricHistoryBulkRequest[] = []
const searched: SearchRunsRequest[] = []

const routes = [
  some(RunService, {
    getRun(request) {
      if (request.runId === 'gone') throw doesNotExist('Run with id=gone not found')
      if (request.runId === 'state') throw invalidState('not now')
      if (request.runId === 'busy') throw resourceExhausted('slow down')
      if (request.runId === 'bug') throw new Error('secret detail')
      return { run: { info: { runId: request.runId, runUuid: request.runUuid } } }
    },
    searchRuns(request) {
      searched.push(request)
      return { runs: [] }
    },
  }),
  some(MetricService, {
    logMetric(request) {
      logged.push(request)
      return {}
    },
    getMetricHistoryBulk(request) {
      bulk.push(request)
      return { metrics: request.runId.map(runId => ({ runId, key: request.metricKey, value: Number.NaN })) }
    },
  }),
  some(ExperimentService, {
    searchExperiments: request => ({ nextPageToken: JSON.stringify(request.orderBy), experiments: [{ name: String(request.maxResults) }] }),
  }),
  some(LoggedModelService, {
    getLoggedModel: request => ({ model: { info: { modelId: request.modelId, name: String(request.allowDeleted) } } }),
  }),
  some(DatasetService, { searchDatasets: () => ({ datasetSummaries: [{ name: 'd' }] }) }),
]

let gateway: Gateway
beforeAll(async () => {
  gateway = await startWith(routes)
})
afterAll(async () => {
  await gateway[Symbol.asyncDispose]()
})

const RUNS = '/api/2.0/mlflow/runs'

describe('routes', () => {
  test('every RPC is served below /api and /ajax-api', async () => {
    for (const base of ['/api', '/ajax-api']) {
      expect(await get(gateway, `${base}/2.0/mlflow/runs/get?run_id=r`)).toMatchObject({
        status: 200,
        type: 'application/json',
        text: '{"run":{"info":{"run_id":"r"}}}',
      })
    }
  })

  test('what is for the web UI is served below /ajax-api only', async () => {
    const path = '/2.0/mlflow/experiments/search-datasets'
    expect(await post(gateway, `/ajax-api${path}`, '{}')).toMatchObject({ status: 200, text: '{"dataset_summaries":[{"name":"d"}]}' })
    expect(await post(gateway, `/api${path}`, '{}')).toMatchObject({ status: 404 })
  })

  test('path variables are decoded and fill their field', async () => {
    const { text } = await get(gateway, '/api/2.0/mlflow/logged-models/m-%41%20b')
    expect(JSON.parse(text).model.info.model_id).toBe('m-A b')
  })

  test.each([
    ['?allow_deleted=TrUe', 'true'],
    ['?allow_deleted=false', 'false'],
    ['?allow_deleted=1', 'false'],
    ['?allow_deleted=', 'false'],
    ['', 'undefined'],
  ])('a flag in the query string refuses nothing: %j', async (query, expected) => {
    const { text } = await get(gateway, `/api/2.0/mlflow/logged-models/m${query}`)
    expect(JSON.parse(text).model.info.name).toBe(expected)
  })

  test('two methods of one path', async () => {
    const byGet = await get(gateway, '/api/2.0/mlflow/experiments/search?max_results=5&order_by=a&order_by=b')
    expect(JSON.parse(byGet.text)).toEqual({ experiments: [{ name: '5' }], next_page_token: '["a","b"]' })
    expect((await post(gateway, '/api/2.0/mlflow/experiments/search', '{"max_results":6}')).text).toContain('"name":"6"')
  })

  test('another method is 405 with what is allowed, an unknown path 404, both as HTML', async () => {
    const wrong = await get(gateway, `${RUNS}/create`)
    expect(wrong).toMatchObject({ status: 405, type: 'text/html; charset=utf-8' })
    expect(wrong.headers.get('allow')).toBe('OPTIONS, POST')
    expect(wrong.text).toContain('The method is not allowed for the requested URL.')
    for (const path of ['/nonsense', `${RUNS}/get/`, '/API/2.0/mlflow/runs/get', '/api/9.9/mlflow/runs/get', `${RUNS}/../runs/get%3f`]) {
      expect(await get(gateway, path), path).toMatchObject({ status: 404, type: 'text/html; charset=utf-8' })
    }
  })

  test('slashes at the beginning are one, doubled ones inside are redirected, escapes in the path are decoded', async () => {
    expect(await get(gateway, `//api/2.0/mlflow/runs/get?run_id=r`)).toMatchObject({ status: 200 })
    expect(await get(gateway, '/%61pi/2.0/mlflow/runs/get?run_id=r')).toMatchObject({ status: 200 })
    const doubled = await get(gateway, '/api/2.0//mlflow/runs/get?run_id=r')
    expect(doubled.status).toBe(308)
    expect(doubled.headers.get('location')).toBe(`${gateway.url}/api/2.0/mlflow/runs/get?run_id=r`)
  })

  test('a literal path leaves the methods that it does not serve to a pattern', async () => {
    expect((await get(gateway, '/api/2.0/mlflow/logged-models/search')).text).toContain('"model_id":"search"')
    expect((await post(gateway, '/api/2.0/mlflow/logged-models/m', '{}')).status).toBe(405)
  })

  test('another method behind doubled slashes is 405, not a redirect', async () => {
    const answer = await fetch(`${gateway.url}/api/2.0//mlflow/runs/get`, { method: 'POST', redirect: 'manual' })
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'HEAD, GET, OPTIONS'])
  })

  test('OPTIONS names the methods', async () => {
    const answer = await fetch(`${gateway.url}${RUNS}/get`, { method: 'OPTIONS' })
    expect([answer.status, answer.headers.get('allow')]).toEqual([204, 'HEAD, GET, OPTIONS'])
  })

  test('a static prefix moves everything', async () => {
    await using prefixed = await startWith(routes, { staticPrefix: '/pre' })
    expect(prefixed.url).toMatch(/\/pre$/)
    expect(await get(prefixed, `${RUNS}/get?run_id=r`)).toMatchObject({ status: 200 })
    expect(await get(prefixed, '/health')).toMatchObject({ status: 200 })
    expect(await get(prefixed, '')).toMatchObject({ status: 308 })
    expect((await fetch(`http://127.0.0.1:${prefixed.port}/health`)).status).toBe(404)
    const client = createClient(RunService, createConnectTransport({ baseUrl: prefixed.url, httpVersion: '1.1' }))
    expect((await client.getRun({ runId: 'r' })).run?.info?.runId).toBe('r')
  })
})

describe('requests', () => {
  test('a metric reaches the service as it was sent', async () => {
    const body = '{"run_id":"r","key":"k","value":"NaN","timestamp":"1700000000001","step":9007199254740993}'
    expect(await post(gateway, `${RUNS}/log-metric`, body)).toMatchObject({ status: 200, text: '{}' })
    expect(logged.at(-1)).toMatchObject({ runId: 'r', key: 'k', value: Number.NaN, timestamp: 1700000000001n, step: 9007199254740993n })
  })

  test('what stands before a value that does not fit is still carried out', async () => {
    const body = '{"run_id":"r","key":"k","value":NaN,"timestamp":5}'
    expect((await post(gateway, `${RUNS}/log-metric`, body)).status).toBe(200)
    expect(logged.at(-1)).toMatchObject({ runId: 'r', key: 'k', value: undefined, timestamp: undefined })
  })

  test('run_uuid stands in for run_id', async () => {
    expect((await get(gateway, `${RUNS}/get?run_uuid=u`)).text).toBe('{"run":{"info":{"run_uuid":"u"}}}')
  })

  test('a GET without a query string reads a JSON body', async () => {
    const { request } = await import('node:http')
    const status = await new Promise(resolve => {
      const sent = request(`${gateway.url}${RUNS}/get`, { method: 'GET', headers: { 'Content-Length': 14 } }, res =>
        resolve(res.statusCode),
      )
      sent.end('{"run_id":"r"}')
    })
    expect(status).toBe(200)
  })

  test('the bulk history takes repeated parameters and answers bare NaN', async () => {
    const { text } = await get(gateway, '/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id=a&run_id=b&metric_key=k')
    expect(text).toBe('{"metrics":[{"key":"k","value":NaN,"run_id":"a"},{"key":"k","value":NaN,"run_id":"b"}]}')
  })

  test("the bulk history reads integers as Python's int(), of HEAD too, and no body", async () => {
    const path = '/ajax-api/2.0/mlflow/metrics/get-history-bulk'
    const points = async (maxResults: string) => {
      const { text } = await get(gateway, `${path}?run_id=${encodeURIComponent(maxResults)}&metric_key=k&max_results=${maxResults}`)
      return text.startsWith('{"metrics"') ? bulk.at(-1)?.maxResults : text
    }
    expect([await points('+2'), await points('-1'), await points('1_0')]).toEqual([2, -1, 10])
    expect([await points('9'.repeat(20)), await points(`-${'9'.repeat(20)}`)]).toEqual([2_147_483_647, -2_147_483_647])
    expect((await fetch(`${gateway.url}${path}?run_id=a&metric_key=k`, { method: 'HEAD' })).status).toBe(200)
    for (const text of ['1.0', '1e2']) expect(await points(text)).toContain(`'${text}' is no integer.`)
    const answer = await post(gateway, path, '{"run_id":["a"],"metric_key":"k"}')
    expect(answer.status).toBe(405)
  })

  test("a query string's escapes that are not UTF-8 stay, the rest is decoded", async () => {
    const runId = async (text: string) => JSON.parse((await get(gateway, `${RUNS}/get?run_id=${text}`)).text).run.info.run_id
    expect(await runId('%C3')).toBe('%C3')
    expect(await runId('%e9+%c3%a9%ff%F0%9F%8E%89x%F0%9F')).toBe('%E9 é%FF🎉x%F0%9F')
    expect(await runId('%EF%BF%BD%zz')).toBe('\ufffd%zz')
  })
})

describe('errors', () => {
  test.each([
    ['gone', 404, 'RESOURCE_DOES_NOT_EXIST', 'KAM00', 'RESOURCE_NOT_FOUND'],
    ['state', 500, 'INVALID_STATE', 'XXM00', 'CLIENT_INTERNAL_ERROR'],
    ['busy', 429, 'RESOURCE_EXHAUSTED', undefined, undefined],
    ['bug', 500, 'INTERNAL_ERROR', 'XXM00', 'CLIENT_INTERNAL_ERROR'],
  ])('%s', async (id, status, error_code, sqlstate, error_class) => {
    const answer = await get(gateway, `${RUNS}/get?run_id=${id}`)
    expect(answer).toMatchObject({ status, type: 'application/json' })
    expect(JSON.parse(answer.text)).toEqual(expect.objectContaining({ error_code, ...(sqlstate ? { sqlstate, error_class } : {}) }))
    expect('sqlstate' in JSON.parse(answer.text)).toBe(sqlstate !== undefined)
    expect(answer.text).not.toContain('secret')
  })

  test('a part that is not there is 501', async () => {
    await using alone = await startWith([])
    expect(JSON.parse((await get(alone, `${RUNS}/get?run_id=r`)).text).error_code).toBe('NOT_IMPLEMENTED')
  })

  test('a workspace header is refused, except by server-info', async () => {
    const header = { 'X-MLFLOW-WORKSPACE': 'team' }
    expect(JSON.parse((await get(gateway, `${RUNS}/get?run_id=r`, header)).text).error_code).toBe('FEATURE_DISABLED')
    expect((await get(gateway, '/api/3.0/mlflow/server-info', header)).status).toBe(200)
  })
})

describe('Connect, gRPC and gRPC-Web on the same port', () => {
  const transports = [
    ['Connect over HTTP/1.1', () => createConnectTransport({ baseUrl: gateway.url, httpVersion: '1.1' })],
    ['Connect over HTTP/2', () => createConnectTransport({ baseUrl: gateway.url, httpVersion: '2' })],
    ['gRPC', () => createGrpcTransport({ baseUrl: gateway.url })],
    ['gRPC-Web', () => createGrpcWebTransport({ baseUrl: gateway.url, httpVersion: '1.1' })],
  ] as const
  test.each(transports)('%s', async (_name, transport) => {
    const runs = createClient(RunService, transport())
    expect((await runs.getRun({ runId: 'r' })).run?.info?.runId).toBe('r')
    await expect(runs.getRun({ runId: 'gone' })).rejects.toThrow('Run with id=gone not found')
    await expect(createClient(ArtifactStoreService, transport()).list({ uri: '/' })).rejects.toThrow(/unimplemented|404/i)
  })
})

describe('the server about itself', () => {
  test('health, version and landing page', async () => {
    expect(await get(gateway, '/health')).toMatchObject({ status: 200, text: 'OK', type: 'text/plain; charset=utf-8' })
    expect(await get(gateway, '/version')).toMatchObject({ status: 200, text: '3.17.2', type: 'text/html; charset=utf-8' })
    expect((await get(gateway, '/')).text).toContain('Millrace')
  })

  test('ready names each part and hides why one is not', async () => {
    const failing = () => Promise.reject(new Error('postgresql://user:secret@host'))
    await using half = await startWith(routes, {}, { ready: { metadata: async () => undefined, artifacts: failing } })
    const answer = await get(half, '/ready')
    expect(answer.status).toBe(503)
    expect(JSON.parse(answer.text)).toEqual({ status: 'unavailable', parts: { metadata: 'ready', artifacts: 'unavailable' } })
    expect((await get(gateway, '/ready')).status).toBe(200)
  })

  test('server-info has every key that clients ask for', async () => {
    const { text } = await get(gateway, '/api/3.0/mlflow/server-info')
    expect(Object.keys(JSON.parse(text))).toEqual([
      'store_type',
      'workspaces_enabled',
      'trace_archival_enabled',
      'multipart_uploads_enabled',
      'multipart_downloads_enabled',
      'presigned_upload_run_id_supported',
      'presigned_upload_model_id_supported',
      'features_enabled',
    ])
  })

  test('the OpenAPI document has every REST route with schemas that exist', async () => {
    const { text } = await get(gateway, '/openapi.json')
    const document = JSON.parse(text)
    expect(document.paths['/api/2.0/mlflow/runs/create'].post.requestBody).toBeDefined()
    expect(document.paths['/api/2.0/mlflow-artifacts/mpu/create/{artifact_path}'].post.parameters[0].in).toBe('path')
    expect(document.paths['/api/2.0/mlflow/experiments/search-datasets']).toBeUndefined()
    for (const [, name] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g))
      expect(document.components.schemas[name ?? '']).toBeDefined()
  })
})

describe('modes', () => {
  test('artifacts-only refuses tracking in words', async () => {
    await using only = await startWith(routes, { artifactsOnly: true })
    const answer = await post(only, `${RUNS}/create`, '{}', JSON_TYPE)
    expect(answer).toMatchObject({ status: 503, type: 'text/html; charset=utf-8' })
    expect(answer.text).toBe(
      'Endpoint: /api/2.0/mlflow/runs/create disabled due to the mlflow server running in `--artifacts-only` mode. To enable tracking server functionality, run `mlflow server` without `--artifacts-only`',
    )
    expect((await get(only, '/health')).status).toBe(200)
  })

  test('no-serve-artifacts refuses the proxy in words', async () => {
    await using none = await startWith(routes, { serveArtifacts: 'false' })
    const answer = await fetch(`${none.url}/api/2.0/mlflow-artifacts/artifacts/a/b`, { method: 'DELETE' })
    expect(answer.status).toBe(503)
    expect(await answer.text()).toMatch(/^Endpoint: \/api\/2\.0\/mlflow-artifacts\/artifacts\/<path:artifact_path> disabled/)
  })
})
