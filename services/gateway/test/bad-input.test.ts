import { connect } from 'node:net'
import { MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { RunService } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { JSON_BODY_BYTES_MAX } from '@millrace/rest/body'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Gateway } from '../src/service.ts'
import { get, JSON_TYPE, post, some, startWith } from './fixture.ts'

let gateway: Gateway
beforeAll(async () => {
  const runs = some(RunService, {
    createRun: () => ({}),
    logBatch: () => ({}),
    searchRuns: () => ({}),
    updateRun: () => ({}),
    logOutputs: () => ({}),
  })
  gateway = await startWith([runs, some(MetricService, { logMetric: () => ({}), getMetricHistoryBulkInterval: () => ({}) })])
})
afterAll(async () => {
  await gateway[Symbol.asyncDispose]()
})

const RUNS = '/api/2.0/mlflow/runs'
const SEE = ' See the API docs for more information about request parameters.'
const missing = (name: string) => `Missing value for required parameter '${name}'.${SEE}`
const invalid = (value: string, name: string, type: string) =>
  `Invalid value ${value} for parameter '${name}' supplied:  Hint: Value was of type '${type}'.${SEE}`

// Messages seen on MLflow 3.17.2; where it answers 500 the body here is Millrace's.
const refused: [string, string, string][] = [
  ['log-metric', '{}', missing('run_id')],
  ['log-metric', '{', missing('run_id')],
  ['log-metric', '', missing('run_id')],
  ['log-metric', '{"run_id":"r"}', missing('key')],
  ['log-metric', '{"run_id":"r","key":""}', missing('key')],
  ['log-metric', '{"run_id":"r","key":"k","value":null,"timestamp":1}', missing('value')],
  ['log-metric', '{"runId":"r"}', missing('run_id')],
  ['log-metric', '{"run_id":"r","runId":"r"}', "Request specifies both 'run_id' and 'runId'; provide only one of them."],
  ['log-metric', '{"run_id":5,"key":"k","value":1,"timestamp":1}', invalid('5', 'run_id', 'int')],
  ['log-metric', '{"run_id":1.0,"key":"k","value":1,"timestamp":1}', invalid('1.0', 'run_id', 'float')],
  ['log-metric', '{"run_id":["a\\u007f\\u0080"],"key":"k","value":1,"timestamp":1}', invalid('["a\\u007f\\u0080"]', 'run_id', 'list')],
  [
    'log-metric',
    '{"run_id":"r","key":{"b":1,"a":[1e16,true,null,"é"]},"value":1,"timestamp":1}',
    invalid('{"a":[1e+16,true,null,"\\u00e9"],"b":1}', 'key', 'dict'),
  ],
  ['log-metric', '{"run_id":"r","key":"k","value":"abc","timestamp":1}', invalid('"abc"', 'value', 'str')],
  ['log-metric', '{"run_id":"r","key":"k","value":1,"timestamp":99999999999999999999,"step":"1e2"}', invalid('"1e2"', 'step', 'str')],
  ['log-metric', '{"run_id":"r","key":"k","value":{},"timestamp":[],"step":"1e2"}', invalid('{}', 'value', 'dict')],
  ['log-metric', '[]', 'The request body must be a JSON object.'],
  ['log-metric', '5', 'The request body must be a JSON object.'],
  ['log-metric', '"x"', 'The request body must be a JSON object.'],
  ['search', `{"x":${'['.repeat(5000)}${']'.repeat(5000)}}`, 'The JSON of the request body is nested too deeply.'],
  ['create', `{"tags":${'['.repeat(1000)}${']'.repeat(1000)}}`, 'The JSON of the request body is nested too deeply.'],
  ['log-metric', `${'{"a":'.repeat(1000)}1${'}'.repeat(1000)}`, 'The JSON of the request body is nested too deeply.'],
  ['update', '{"run_id":"r","status":0}', invalid('0', 'status', 'int')],
  ['update', '{"run_id":"r","status":7.9}', invalid('7.9', 'status', 'float')],
  ['update', '{"run_uuid":"r","end_time":"1.5","status":{}}', invalid('"1.5"', 'end_time', 'str')],
  ['create', '{"experiment_id":1}', invalid('1', 'experiment_id', 'int')],
  ['create', '{"run_name":5,"start_time":"x"}', invalid('"x"', 'start_time', 'str')],
  ['search', '{"max_results":50001}', invalid('50001', 'max_results', 'int')],
  ['search', '{"experiment_ids":"1"}', invalid('"1"', 'experiment_ids', 'str')],
  ['search', '{"order_by":[1]}', invalid('[1]', 'order_by', 'list')],
  ['log-batch', '', missing('run_id')],
  ['log-batch', '{"run_id":"r","metrics":[{"key":"k","value":1}]}', missing('metrics[0].timestamp')],
  ['log-batch', '{"run_id":"r","metrics":[{"key":"k","value":1,"timestamp":1},{"value":1}]}', missing('metrics[1].key')],
  ['log-batch', '{"run_id":"r","params":[{"value":"v"}]}', missing('params[0].key')],
  ['log-batch', '{"run_id":"r","tags":[{"value":"v"}]}', missing('tags[0].key')],
  ['log-batch', '{"run_id":"r","tags":{}}', invalid('{}', 'tags', 'dict')],
  ['outputs', '{"run_id":"r"}', missing('models')],
]

test.each(refused)('%s %s', async (path, body, message) => {
  const answer = await post(gateway, `${RUNS}/${path}`, body)
  expect(answer).toMatchObject({ status: 400, type: 'application/json' })
  expect(JSON.parse(answer.text)).toEqual({
    error_code: 'INVALID_PARAMETER_VALUE',
    message,
    sqlstate: 'KAM00',
    error_class: 'INVALID_PARAMETER_VALUE',
  })
})

test.each([
  ['metric_key=k', missing('run_ids')],
  ['run_ids=a', missing('metric_key')],
  ['run_ids=a&metric_key=k&max_results=0', `max_results must be between 1 and 2500.${SEE}`],
  ['run_ids=a&metric_key=k&start_step=x', invalid('"x"', 'start_step', 'str')],
  [
    `${'run_ids=a&'.repeat(101)}metric_key=k`,
    `GetMetricHistoryBulkInterval request must specify at most 100 run_ids. Received 101 run_ids.${SEE}`,
  ],
])('the query %s', async (query, message) => {
  const answer = await get(gateway, `/api/2.0/mlflow/metrics/get-history-bulk-interval?${query}`)
  expect(answer.status).toBe(400)
  expect(JSON.parse(answer.text).message).toBe(message)
})

test.each([
  [{}, 'Bad Request. Content-Type header is missing.'],
  [{ 'Content-Type': 'text/plain' }, "Bad Request. Content-Type must be one of ['application/json']."],
  [{ 'Content-Type': 'application/JSON' }, "Bad Request. Content-Type must be one of ['application/json']."],
])('content type %j', async (headers, message) => {
  const answer = await post(gateway, `${RUNS}/create`, new TextEncoder().encode('{}'), headers as Record<string, string>)
  expect(answer.status).toBe(400)
  expect(JSON.parse(answer.text).message).toBe(message)
})

test('parameters after the content type are fine', async () => {
  expect((await post(gateway, `${RUNS}/create`, '{}', { 'Content-Type': 'application/json; charset=utf-8' })).status).toBe(200)
})

describe('a body over the limit is 413 with an error body', () => {
  test('by its announced length', async () => {
    const answer = await raw(
      `POST ${RUNS}/create HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${JSON_BODY_BYTES_MAX + 1}\r\n\r\n{`,
    )
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
    expect(answer).toContain('"error_code": "BAD_REQUEST"')
  })

  test('by what arrives', async () => {
    const chunk = new Uint8Array(1024 * 1024).fill(32)
    let left = 65
    const body = new ReadableStream({ pull: c => (left-- > 0 ? c.enqueue(chunk) : c.close()) })
    const sent = fetch(`${gateway.url}${RUNS}/create`, { method: 'POST', body, duplex: 'half', headers: JSON_TYPE } as RequestInit)
    const status = await sent.then(
      answer => answer.status,
      () => 'cut off',
    )
    expect([413, 'cut off']).toContain(status)
    expect((await get(gateway, '/health')).status).toBe(200)
  })
})

const targets = [
  '/api/2.0/mlflow/runs/get?run_id=%00',
  '/%00',
  '/..%2f..%2fetc/passwd',
  '/../../etc/passwd',
  '/%252e%252e/',
  '/api/2.0/mlflow/runs/%ff',
  '/%zz',
  `/${'a'.repeat(8000)}`,
  '//',
  '/api/2.0/mlflow/logged-models/',
  'http://other/nonsense',
  '*',
]

test.each(targets)('the target %s is a 4xx or an answer, never a 5xx that tells anything', async target => {
  const answer = await raw(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  expect(answer).toMatch(/^HTTP\/1\.1 (200|308|4\d\d|501) /)
  expect(answer).not.toMatch(/ at .*\.ts:/)
})

test('a request that is not HTTP is 400', async () => {
  expect(await raw('NONSENSE\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /)
})

function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(gateway.port, '127.0.0.1')
    let answer = ''
    socket.setEncoding('utf8')
    socket.on('data', chunk => {
      answer += chunk
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
    socket.write(text)
  })
}
