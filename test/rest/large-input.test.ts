import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect as connect2 } from 'node:http2'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectNothingOpen } from '../attack/gauges.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { type TempFolder, tempFolder } from '../services/process.ts'

const api = '/api/2.0/mlflow'
const JSON_TYPE = { 'content-type': 'application/json' }
/** The promises are 100 ms and 500 MiB; machines that run tests are slow. */
const WAIT_MS_MAX = 1_000
const MEMORY_KB_MAX = 500 * 1024

let folder: TempFolder
let server: Millrace
let client: HttpClient
let run: string

beforeAll(async () => {
  folder = await tempFolder('large')
  server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
  })
  client = httpClient(server.url)
  const { experiment_id } = await client.ok('POST', `${api}/experiments/create`, { name: 'large' })
  const made = await client.ok<{ run: { info: { run_id: string } } }>('POST', `${api}/runs/create`, { experiment_id })
  run = made.run.info.run_id
})

afterAll(async () => {
  client?.[Symbol.dispose]()
  await server?.[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
})

/** The longest that `/health` took while `work` went on. */
async function longestWait(work: Promise<unknown>): Promise<number> {
  let going = true
  const ended = work.finally(() => {
    going = false
  })
  let longest = 0
  while (going) {
    const begun = performance.now()
    expect((await client.send('GET', '/health')).status).toBe(200)
    longest = Math.max(longest, performance.now() - begun)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  await ended
  return longest
}

/** Sends a body in chunks, without its length, and answers the status. */
function sendChunked(path: string, begin: string, part: string, bytes: number): Promise<number> {
  const piece = Buffer.from(part.repeat(Math.ceil((64 * 1024) / part.length)))
  return new Promise((resolve, reject) => {
    const call = request(`${server.url}${path}`, { method: 'POST', headers: JSON_TYPE }, answer => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    })
    call.on('error', reject)
    call.write(begin)
    let sent = 0
    const more = () => {
      while (sent < bytes) {
        sent += piece.length
        if (!call.write(piece)) return void call.once('drain', more)
      }
      call.end()
    }
    more()
  })
}

const peakMemoryKb = () => Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${server.process.pid}/status`, 'utf8'))?.[1])

const SIXTY_MB = 60_000_000
const bodies: [name: string, path: string, begin: string, part: string][] = [
  ['objects', 'runs/log-batch', '{"run_id":"r","params":[', '{},'],
  ['lists', 'runs/search', '{"experiment_ids":[', '[],'],
  ['texts', 'runs/log-inputs', '{"run_id":"r","datasets":[', '"",'],
  ['depth', 'runs/log-inputs', '{"run_id":"r","datasets":', '['],
  ['digits', 'runs/log-inputs', '{"run_id":', '1'],
  ['one text', 'runs/log-inputs', '{"run_id":"', 'a'],
  ['a JSON text of objects', 'runs/log-inputs', '"[', '{},'],
]

describe('60 MB of JSON are refused, the others are served meanwhile, and memory stays', () => {
  test.each(bodies)('%s', async (_, path, begin, part) => {
    const calls = Promise.all([1, 2, 3].map(() => sendChunked(`${api}/${path}`, begin, part, SIXTY_MB)))
    expect(await longestWait(calls)).toBeLessThan(WAIT_MS_MAX)
    // 503 for what finds no room beside the others.
    for (const status of await calls) expect([400, 413, 503]).toContain(status)
    expect(peakMemoryKb()).toBeLessThan(MEMORY_KB_MAX)
  })
})

test('what is held of bodies is given back when their clients leave', async () => {
  for (let i = 0; i < 5; i++) {
    const call = request(`${server.url}${api}/runs/log-batch`, { method: 'POST', headers: JSON_TYPE }).on('error', () => undefined)
    await new Promise<void>(resolve => call.write(`{"run_id":"${'a'.repeat(2_000_000)}`, () => resolve()))
    await expect.poll(async () => (await client.send('GET', '/metrics')).text).toMatch(/^millrace_json_body_held_bytes [1-9]/m)
    call.destroy()
    await expectNothingOpen(server.url)
  }
})

const list = (part: string, count: number) => Array(count).fill(part).join(',')
const keys = (count: number) => Array.from({ length: count }, (_, i) => `"k${i * 7919}":1`).join(',')
const crowded: [name: string, body: string, message: RegExp][] = [
  ['objects', `{"params":[${list('{}', 110_000)}]}`, /more than 100000 values/],
  ['distinct names', `{${keys(30_000)}}`, /25000 members/],
  ['a text of JSON', JSON.stringify(`{"params":[${list('{}', 110_000)}]}`), /more than 100000 values/],
  ['long integers', `{"x":[${list('1'.repeat(4_300), 900)}]}`, /too many digits/],
  ['UTF-16', Buffer.from(`{"x":"${'a'.repeat(60_000)}"}`, 'utf16le').toString('latin1'), /UTF-16/],
  ['depth', `{"x":${'['.repeat(90_000)}${']'.repeat(90_000)}}`, /nested too deeply/],
]

test.each(crowded)('more JSON values than any request needs are 400: %s', async (_, body, message) => {
  const answer = await client.send('POST', `${api}/runs/log-batch`, Buffer.from(body, 'latin1'), JSON_TYPE)
  expect([answer.status, (answer.json() as { message: string }).message]).toEqual([400, expect.stringMatching(message)])
})

test('the longest texts that MLflow takes are taken', async () => {
  const longest = {
    name: 'd',
    digest: '1',
    source_type: 'code',
    source: 's',
    schema: 's'.repeat(1_048_575),
    profile: '"'.repeat(8_000_000),
  }
  const datasets = [{ dataset: longest, tags: [] }]
  await client.ok('POST', `${api}/runs/log-inputs`, { run_id: run, datasets })
  const { run: found } = await client.ok<{ run: { inputs: { dataset_inputs: { dataset: typeof longest }[] } } }>(
    'GET',
    `${api}/runs/get?run_id=${run}`,
  )
  expect(found.inputs.dataset_inputs[0]?.dataset).toEqual(longest)
  const many = <T>(count: number, one: (i: number) => T) => Array.from({ length: count }, (_, i) => one(i))
  const batch = {
    run_id: run,
    metrics: many(800, i => ({
      key: `m${i}`,
      value: i / 3,
      timestamp: 1_700_000_000_000,
      step: i,
      dataset_name: 'd',
      dataset_digest: '1',
    })),
    params: many(100, i => ({ key: `p${i}`, value: '🎉'.repeat(6_000) })),
    tags: many(100, i => ({ key: `t${i}`, value: '🎉'.repeat(8_000) })),
  }
  // As Python writes it: ASCII, twelve bytes for each.
  const ascii = JSON.stringify(batch).replaceAll('🎉', '\\ud83c\\udf89')
  expect((await client.send('POST', `${api}/runs/log-batch`, ascii, JSON_TYPE)).status).toBe(200)
})

test.each([
  ['a list', { run_id: 'r', key: Array(50_000).fill(1) }],
  ['a text', { run_id: 'r', key: 'k', value: 'x'.repeat(1_000_000), timestamp: 1 }],
  ['an object', { run_id: 'r', key: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`k${i}`, 'x'.repeat(100)])) }],
])('an error quotes little of a long value: %s', async (_, body) => {
  const { status, text } = await client.send('POST', `${api}/runs/log-metric`, body)
  expect(status).toBe(400)
  expect(text.length).toBeLessThan(2_000)
})

/** The longest that the process can be told in a URL or a header. */
const LONG = 120_000
const files = '/api/2.0/mlflow-artifacts/artifacts'
const run_id = 'a'.repeat(32)
const targets: [name: string, target: string, headers?: Record<string, string>][] = [
  ['slashes in a path', `${files}/${'/'.repeat(LONG)}a`],
  ['slashes and dots in a path', `${files}/a${'/.'.repeat(LONG / 2)}`],
  ['escapes in a path', `${files}/${'%25'.repeat(LONG / 3)}`],
  ['a long path', `${files}/${'a'.repeat(LONG)}`],
  ['slashes in a query', `/get-artifact?run_id=${run_id}&path=${'/'.repeat(LONG)}a`],
  ['spaces in a range', `${files}/file`, { range: `bytes=${' '.repeat(LONG)}x` }],
  ['many ranges', `${files}/file`, { range: `bytes=${'0-1,'.repeat(LONG / 4)}` }],
  ['many tags', `${files}/file`, { 'if-none-match': '"a",'.repeat(LONG / 4) }],
  ['a long host', '/api/2.0/mlflow/experiments/get', { host: 'a.'.repeat(LONG / 2) }],
  ['a long origin', '/api/2.0/mlflow/experiments/get', { origin: `http://${'a.'.repeat(LONG / 2)}` }],
  ['broken escapes', `${api}/runs/get?run_id=${'%ff'.repeat(LONG / 3)}`],
  ['many parameters', `${api}/runs/get?${'a&'.repeat(LONG / 2)}run_id=b`],
]

test.each(targets)('a long URL or header is answered at once: %s', async (_, target, headers) => {
  await client.send('PUT', `${files}/file`, 'text')
  const begun = performance.now()
  const { status, text } = await client.send('GET', target, undefined, headers)
  expect(performance.now() - begun).toBeLessThan(WAIT_MS_MAX)
  expect(status).toBeLessThan(500)
  expect(text.length).toBeLessThan(5_000)
})

const abort = '/api/2.0/mlflow-artifacts/mpu/abort/folder'
const complete = '/api/2.0/mlflow-artifacts/mpu/complete/folder'
test.each([
  ['path', abort, { path: 'x'.repeat(1_000_000), upload_id: 'a' }],
  ['upload id', abort, { path: 'x', upload_id: 'x://a:'.repeat(150_000) }],
  ['ETag', complete, { path: 'x', upload_id: 'a', parts: [{ part_number: 1, etag: 'e'.repeat(1_000_000) }] }],
  ['URL', complete, { path: 'x', upload_id: 'a', parts: [{ part_number: 1, url: 'u'.repeat(1_000_000) }] }],
  ['list', complete, { path: 'x', upload_id: 'a', parts: Array(11_000).fill({ part_number: 1 }) }],
])('no job is made of a multipart upload with an endless %s', async (_, path, body) => {
  const { status, text } = await client.send('POST', path, body)
  expect([status, text.length < 1_000]).toEqual([400, true])
})

test('methods that nobody knows are counted as one', async () => {
  const session = connect2(server.url)
  for (let i = 0; i < 20; i++) {
    const stream = session.request({ ':method': `ODD${i}`, ':path': '/nothing' })
    await new Promise(resolve => stream.resume().on('close', resolve).end())
  }
  session.close()
  const { text } = await client.send('GET', '/metrics')
  expect(text).not.toContain('ODD')
  expect(text).toMatch(/method="OTHER".* 20\n/)
})
