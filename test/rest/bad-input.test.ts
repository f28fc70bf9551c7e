import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, type HttpClient, httpClient, rawExchange } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { type TempFolder, tempFolder } from '../services/process.ts'

const api = '/api/2.0/mlflow'
const files = '/api/2.0/mlflow-artifacts/artifacts'
const json = { 'content-type': 'application/json' }
const hex = '0'.repeat(32)

let folder: TempFolder
let server: Millrace
let client: HttpClient
let run: string
let experiment: string

beforeAll(async () => {
  folder = await tempFolder('rest')
  server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
  })
  client = httpClient(server.url)
  experiment = (await client.ok<{ experiment_id: string }>('POST', `${api}/experiments/create`, { name: 'bad' })).experiment_id
  const made = await client.ok<{ run: { info: { run_id: string } } }>('POST', `${api}/runs/create`, { experiment_id: experiment })
  run = made.run.info.run_id
  await client.send('PUT', `${files}/dir/inside.txt`, 'inside')
})

afterAll(async () => {
  client?.[Symbol.dispose]()
  await server?.[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
})

const TRACE = /\n\s+at |node:internal|\.ts:\d+|SQLITE_|select .* from|Traceback|stack/i

/** A clear 4xx that shows nothing of the inside. */
function refused(answer: Answer): void {
  expect(answer.text).not.toMatch(TRACE)
  expect(answer.text).not.toContain(folder.path)
  expect(answer.status, answer.text.slice(0, 300)).toBeGreaterThanOrEqual(400)
  expect(answer.status, answer.text.slice(0, 300)).toBeLessThan(500)
}

/** The same, in MLflow's error body. */
function refusedAs(answer: Answer, code: string): void {
  refused(answer)
  expect(answer.headers['content-type']).toMatch(/^application\/json/)
  const body = answer.json() as { error_code: string; message: string }
  expect(body.error_code, body.message).toBe(code)
  expect(body.message.length).toBeGreaterThan(0)
}

/** A server may close on a client that sends far too much before that client reads the answer. */
function refusedOrCut(text: string): void {
  expect(text === '' || /^HTTP\/1\.1 4\d\d /.test(text), text.slice(0, 200)).toBe(true)
}

describe('bodies that are not what they should be', () => {
  const malformed: [name: string, body: string | Buffer][] = [
    ['cut short', '{"name": "x"'],
    ['not JSON', 'name=x'],
    ['trailing text', '{"name":"x"}}'],
    ['single quotes', "{'name':'x'}"],
    ['a lone surrogate escape in a key', '{"\\ud800": 1'],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])],
    ['a NUL', '{"name":"x"\0}'],
    ['only an opening bracket, a million times', '['.repeat(1_000_000)],
    ['objects nested a hundred thousand deep', '{"name":'.repeat(100_000)],
  ]
  test.each(malformed)('%s', async (_, body) => {
    for (const path of ['experiments/create', 'runs/create', 'runs/log-metric', 'runs/log-batch', 'runs/delete'])
      refused(await client.send('POST', `${api}/${path}`, body, json))
  })

  test.each([['null'], ['[]'], ['1'], ['"text"'], ['true'], ['{}'], ['']])('%s instead of an object with fields', async body => {
    for (const path of ['experiments/create', 'runs/log-metric', 'runs/log-parameter', 'runs/set-tag', 'runs/log-batch', 'runs/delete'])
      refused(await client.send('POST', `${api}/${path}`, body, json))
  })

  test('a body that claims to be compressed and is not', async () => {
    refused(await client.send('POST', `${api}/experiments/create`, '{"name":"z"}', { 'content-encoding': 'gzip' }))
  })

  test('deep nesting inside an unknown field does no harm', async () => {
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`
    const { status } = await client.send('POST', `${api}/experiments/get-by-name`, `{"x":${deep}}`)
    expect(status).toBeLessThan(500)
    expect((await client.send('GET', '/health')).status).toBe(200)
  })
})

const huge = '9'.repeat(40)

/** What MLflow 3.17.2 takes all the same (run against it): either answer will do. */
const lenient: Record<string, unknown[]> = {
  'runs/create start_time': [1.5, 1e300, huge],
  'runs/create tags': ['x', [1]],
  'runs/log-metric timestamp': [1e300, huge],
  'runs/log-metric step': [1e300, huge],
  'runs/log-batch metrics': [[{ key: 'a', value: 'x', timestamp: 1 }]],
  'runs/search experiment_ids': [[{}], [[]]],
  'runs/search max_results': [0.5],
  'runs/search page_token': [1],
  'runs/update status': ['NOPE'],
  'runs/log-inputs datasets': [[1], [{ dataset: 1 }], [{ dataset: {} }]],
}

const isLenient = (call: string, value: unknown) => lenient[call]?.some(v => JSON.stringify(v) === JSON.stringify(value))

describe('fields of the wrong type', () => {
  const wrong: [path: string, field: string, values: unknown[]][] = [
    ['experiments/create', 'name', [1, true, [], {}, null]],
    ['experiments/create', 'tags', ['x', 1, {}, [1], ['x'], [{ key: 1 }]]],
    ['runs/create', 'experiment_id', [[], {}, true]],
    ['runs/create', 'start_time', ['soon', [], {}, 1.5, 1e300, huge]],
    ['runs/create', 'tags', ['x', [1]]],
    ['runs/log-metric', 'value', ['x', [], {}, null, '1,5']],
    ['runs/log-metric', 'timestamp', ['x', [], {}, 1e300, huge]],
    ['runs/log-metric', 'step', ['x', [], {}, 1e300, huge]],
    ['runs/log-metric', 'key', [1, [], {}, null]],
    ['runs/log-parameter', 'key', [1, [], {}, null, '']],
    ['runs/set-tag', 'key', [1, [], {}, null, '']],
    ['runs/log-batch', 'metrics', ['x', 1, {}, [1], [{}], [{ key: 'a' }], [{ key: 'a', value: 'x', timestamp: 1 }]]],
    ['runs/log-batch', 'params', ['x', 1, {}, [1], [{}]]],
    ['runs/log-batch', 'tags', ['x', 1, {}, [1], [{}]]],
    ['runs/search', 'experiment_ids', ['x', 1, {}, [{}], [[]]]],
    ['runs/search', 'max_results', ['x', -1, 1e9, 0.5, []]],
    ['runs/search', 'order_by', ['x', [1], [{}], ['nonsense !']]],
    ['runs/search', 'filter', [1, [], {}, 'metrics.', "params.x = '", 'a'.repeat(100_000)]],
    ['runs/search', 'page_token', [1, 'not a token', '%00', 'eyJ4IjoxfQ==']],
    ['experiments/search', 'max_results', ['x', -1, 0, 1e9, []]],
    ['experiments/search', 'page_token', ['not a token', 'eyJ4IjoxfQ==']],
    ['runs/update', 'status', ['NOPE', [], {}, 99]],
    ['runs/log-inputs', 'datasets', ['x', [1], [{ dataset: 1 }], [{ dataset: {} }]]],
  ]
  const good: Record<string, () => Record<string, unknown>> = {
    'experiments/create': () => ({ name: `wrong-${Math.random()}` }),
    'runs/create': () => ({ experiment_id: experiment }),
    'runs/log-metric': () => ({ run_id: run, key: 'm', value: 1, timestamp: 1, step: 0 }),
    'runs/log-parameter': () => ({ run_id: run, key: 'p', value: 'x' }),
    'runs/set-tag': () => ({ run_id: run, key: 't', value: 'x' }),
    'runs/log-batch': () => ({ run_id: run }),
    'runs/search': () => ({ experiment_ids: [experiment] }),
    'experiments/search': () => ({ max_results: 10 }),
    'runs/update': () => ({ run_id: run }),
    'runs/log-inputs': () => ({ run_id: run }),
  }
  const table = wrong.flatMap(([path, field, values]) => values.map(value => [path, field, value] as const))
  test.each(table)('%s: %s = %j', async (path, field, value) => {
    const answer = await client.send('POST', `${api}/${path}`, { ...good[path]?.(), [field]: value })
    if (answer.status !== 200 || !isLenient(`${path} ${field}`, value)) refusedAs(answer, 'INVALID_PARAMETER_VALUE')
  })
})

describe('keys and values that are too long or odd', () => {
  test.each([
    ['a metric key of 251 characters', 'log-metric', () => ({ key: 'k'.repeat(251), value: 1, timestamp: 1 })],
    ['a metric key with a quote', 'log-metric', () => ({ key: `a'; drop table runs; --`, value: 1, timestamp: 1 })],
    ['a metric key that climbs', 'log-metric', () => ({ key: '../up', value: 1, timestamp: 1 })],
    ['an absolute metric key', 'log-metric', () => ({ key: '/abs', value: 1, timestamp: 1 })],
    ['a metric key with a NUL', 'log-metric', () => ({ key: 'a\0b', value: 1, timestamp: 1 })],
    ['a param key of 251 characters', 'log-parameter', () => ({ key: 'k'.repeat(251), value: 'v' })],
    ['a tag key of 251 characters', 'set-tag', () => ({ key: 'k'.repeat(251), value: 'v' })],
    ['a tag key with a newline', 'set-tag', () => ({ key: 'a\nb', value: 'v' })],
    [
      '1001 metrics',
      'log-batch',
      () => ({ metrics: Array.from({ length: 1001 }, (_, i) => ({ key: 'm', value: 1, timestamp: 1, step: i })) }),
    ],
    ['101 params', 'log-batch', () => ({ params: Array.from({ length: 101 }, (_, i) => ({ key: `q${i}`, value: '1' })) })],
    ['101 tags', 'log-batch', () => ({ tags: Array.from({ length: 101 }, (_, i) => ({ key: `q${i}`, value: '1' })) })],
    ['the same param twice with two values', 'log-batch', () => ({ params: ['1', '2'].map(value => ({ key: 'twice', value })) })],
  ] as const)('%s', async (_, method, body) => {
    refusedAs(await client.send('POST', `${api}/runs/${method}`, { run_id: run, ...body() }), 'INVALID_PARAMETER_VALUE')
  })

  test('a value with a NUL is stored or refused, on every kind of value', async () => {
    const calls = [
      client.send('POST', `${api}/runs/set-tag`, { run_id: run, key: 'nul', value: 'a\0b' }),
      client.send('POST', `${api}/runs/log-parameter`, { run_id: run, key: 'nul', value: 'a\0b' }),
      client.send('POST', `${api}/experiments/create`, { name: 'nul\0name' }),
    ]
    for (const answer of await Promise.all(calls)) expect(answer.status, answer.text).toBeLessThan(500)
  })

  test('a lone surrogate is stored or refused', async () => {
    const { status, text } = await client.send('POST', `${api}/runs/set-tag`, `{"run_id":"${run}","key":"s","value":"\\ud800"}`, json)
    expect(status, text).toBeLessThan(500)
  })

  test('names that JavaScript objects have of their own are names like any other', async () => {
    for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const metric = `{"run_id":"${run}","key":"${key}","value":1,"timestamp":1}`
      expect((await client.send('POST', `${api}/runs/log-metric`, metric, json)).status).toBe(200)
      const tag = `{"run_id":"${run}","key":"${key}","value":"v","__proto__":{"x":1}}`
      expect((await client.send('POST', `${api}/runs/set-tag`, tag, json)).status).toBe(200)
    }
    const found = await client.ok<{ metrics: unknown[] }>('GET', `${api}/metrics/get-history?run_id=${run}&metric_key=__proto__`)
    expect(found.metrics).toHaveLength(1)
  })

  test('a query string of a megabyte is refused', async () => {
    const target = `${api}/runs/get?run_id=${'a'.repeat(1_000_000)}`
    refusedOrCut(await rawExchange(server.port, `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`))
  })

  test('headers of a megabyte are refused', async () => {
    const text = await rawExchange(server.port, `GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'a'.repeat(1_000_000)}\r\n\r\n`)
    refusedOrCut(text)
  })
})

describe('things that are not there', () => {
  test.each([
    ['POST', 'runs/log-metric', { run_id: hex, key: 'm', value: 1, timestamp: 1 }],
    ['POST', 'runs/log-parameter', { run_id: hex, key: 'm', value: '1' }],
    ['POST', 'runs/set-tag', { run_id: hex, key: 'm', value: '1' }],
    ['POST', 'runs/log-batch', { run_id: hex, metrics: [] }],
    ['POST', 'runs/delete', { run_id: hex }],
    ['POST', 'runs/update', { run_id: hex }],
    ['GET', `runs/get?run_id=${hex}`, undefined],
    ['GET', `runs/get?run_id=${'%2e%2e%2f'.repeat(3)}`, undefined],
    ['GET', `artifacts/list?run_id=${hex}`, undefined],
    ['GET', 'experiments/get?experiment_id=987654', undefined],
    ['GET', 'experiments/get-by-name?experiment_name=nope', undefined],
    ['POST', 'experiments/delete', { experiment_id: '987654' }],
  ] as const)('%s %s', async (method, path, body) => {
    refusedAs(await client.send(method, `${api}/${path}`, body), 'RESOURCE_DOES_NOT_EXIST')
  })

  test.each(['abc', '-1', '1e3', '99999999999999999999', "1' or '1'='1", '%00'])('an experiment id that is no id: %s', async id => {
    refused(await client.send('GET', `${api}/experiments/get?experiment_id=${encodeURIComponent(id)}`))
  })

  test.each([
    ['GET', '/nope'],
    ['GET', '/api'],
    ['GET', '/api/2.0'],
    ['GET', '/api/2.0/mlflow'],
    ['GET', `${api}/runs`],
    ['GET', `${api}/runs/nope`],
    ['POST', '/api/9.9/mlflow/runs/create'],
    ['GET', `${api}/runs/get/`],
    ['GET', '//api/2.0/mlflow/runs/get'],
    ['GET', '/api/2.0/mlflow/../mlflow/runs/get'],
    ['GET', '/%'],
    ['GET', '/%zz'],
    ['GET', '/%00'],
    ['GET', '/%c0%ae%c0%ae/etc/passwd'],
    ['DELETE', `${api}/runs/create`],
    ['PUT', `${api}/runs/create`],
    ['GET', `${api}/runs/create`],
    ['PATCH', `${api}/experiments/search`],
    ['POST', '/health'],
    ['GET', '/static-files/../../../../etc/passwd'],
  ])('an unknown route: %s %s', async (method, path) => {
    refused(await client.send(method, path, method === 'GET' ? undefined : '{}'))
  })
})

describe('paths that climb out of the artifact store', () => {
  const climbs = [
    '..',
    '../',
    '../../etc/passwd',
    'dir/../../etc/passwd',
    'dir/..',
    '%2e%2e/%2e%2e/etc/passwd',
    '..%2f..%2fetc%2fpasswd',
    '%2e%2e%2f%2e%2e%2fetc%2fpasswd',
    '%252e%252e%252f%252e%252e%252fetc%252fpasswd',
    '%25252e%25252e%25252fetc',
    '/etc/passwd',
    '//etc/passwd',
    '%2fetc%2fpasswd',
    '%252fetc%252fpasswd',
    'C:%5cwindows',
    'C:/windows',
    '%5c%5chost%5cshare',
    'dir/%2e%2e/%2e%2e/x',
    'dir/./../../x',
    'a%23/../../b',
    '..%2f%23/../../b',
    '%2523/%252e%252e/b',
    `${'../'.repeat(200)}etc/passwd`,
  ]
  test.each(climbs)('%s', async path => {
    for (const method of ['GET', 'PUT', 'DELETE'])
      refused(await client.send(method, `${files}/${path}`, method === 'PUT' ? 'x' : undefined))
    const query = path.includes('%') ? path : encodeURIComponent(path)
    refused(await client.send('GET', `${files}?path=${query}`))
    refused(await client.send('GET', `/get-artifact?run_id=${run}&path=${query}`))
    refused(await client.send('GET', `${api}/artifacts/list?run_id=${run}&path=${query}`))
    refused(await client.send('POST', `/ajax-api/2.0/mlflow/upload-artifact?run_uuid=${run}&path=${query}`, 'x'))
    refused(await client.send('POST', `/api/2.0/mlflow-artifacts/mpu/create/${path}`, { path: 'f', num_parts: 1 }, {}))
    refused(await client.send('GET', `/api/2.0/mlflow-artifacts/presigned/${path}`))
  })

  test.each(['a%00b', '%00', 'a%0ab', 'x'.repeat(300), `${'d/'.repeat(3_000)}f`, `dir/inside.txt/below`])(
    '%s is stored or refused',
    async path => {
      for (const method of ['PUT', 'GET', 'DELETE']) {
        const { status, text } = await client.send(method, `${files}/${path}`, method === 'PUT' ? 'x' : undefined)
        expect(status, text.slice(0, 200)).toBeLessThan(500)
        expect(text).not.toMatch(TRACE)
        expect(text).not.toContain(folder.path)
      }
    },
  )

  test('an experiment cannot point its artifacts at a path that climbs', async () => {
    for (const artifact_location of [
      'mlflow-artifacts:/../../etc',
      'file:///a/../../etc',
      's3://bucket/../x',
      '#x',
      'mlflow-artifacts:/x?y=1',
    ]) {
      const { status, text } = await client.send('POST', `${api}/experiments/create`, {
        name: `to ${artifact_location}`,
        artifact_location,
      })
      expect(status, text).toBeLessThan(500)
      expect(text).not.toMatch(TRACE)
    }
  })

  test('a run id is no way out of the store', async () => {
    for (const id of ['..%2f..%2fetc', '%2fetc%2fpasswd', '..']) refused(await client.send('GET', `/get-artifact?run_id=${id}&path=passwd`))
  })
})

describe('ranges', () => {
  test.each(['bytes=100-200', 'bytes=6-', 'bytes=-0'])('%s of six bytes cannot be satisfied', async range => {
    const answer = await client.send('GET', `${files}/dir/inside.txt`, undefined, { range })
    refused(answer)
    expect(answer.status).toBe(416)
  })

  test.each(['bytes=x-y', 'bytes=5-2', 'lines=1-2', 'bytes=', 'bytes=0-1,3-4', 'bytes=99999999999999999999-'])(
    '%s does no harm',
    async range => {
      const { status } = await client.send('GET', `${files}/dir/inside.txt`, undefined, { range })
      expect(status).toBeLessThan(500)
    },
  )
})

describe('requests that are not HTTP as it should be', () => {
  test.each([
    ['no host', 'GET /health HTTP/1.1\r\n\r\n'],
    ['garbage', '\x16\x03\x01\x02\x00garbage\r\n\r\n'],
    ['a space in the path', 'GET /api/2.0/mlflow/runs get HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['a NUL in the path', 'GET /a\0b HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['two lengths', 'POST /api/2.0/mlflow/runs/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}'],
    ['length and chunks', 'POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a negative length', 'POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -2\r\n\r\n'],
    ['a bad chunk', 'PUT /api/2.0/mlflow-artifacts/artifacts/c HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'],
    ['an absolute target elsewhere', 'GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n'],
    ['a foreign host', 'GET /api/2.0/mlflow/experiments/search?max_results=1 HTTP/1.1\r\nHost: evil.example\r\n\r\n'],
    ['an HTTP/2 preface and then noise', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'x'.repeat(100)}`],
  ])('%s', async (_, bytes) => {
    const text = await rawExchange(server.port, bytes)
    expect(text).not.toMatch(/^HTTP\/1\.1 (5|2)/)
    expect(text).not.toMatch(TRACE)
    expect((await client.send('GET', '/health')).status).toBe(200)
  })
})

test('after all of it the store is as it was and the server well', async () => {
  expect((await client.send('GET', `${files}/dir/inside.txt`)).text).toBe('inside')
  expect((await client.send('GET', '/ready')).status).toBe(200)
})
