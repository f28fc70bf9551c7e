import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { type TempFolder, tempFolder } from '../services/process.ts'

let folder: TempFolder
let server: Millrace
let client: HttpClient
let run: string
let root: string

beforeAll(async () => {
  folder = await tempFolder('run-artifacts')
  server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
  })
  client = httpClient(server.url)
  const made = await client.ok<{ run: { info: { run_id: string; artifact_uri: string } } }>('POST', '/api/2.0/mlflow/runs/create', {
    experiment_id: '0',
  })
  run = made.run.info.run_id
  root = made.run.info.artifact_uri.replace('mlflow-artifacts:/', '')
  expect((await upload('d/a.txt', 'text')).status).toBe(200)
})

afterAll(async () => {
  client?.[Symbol.dispose]()
  await server?.[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
})

const upload = (path: string, body: string, headers: Record<string, string> = {}) =>
  client.send('POST', `/ajax-api/2.0/mlflow/upload-artifact?run_uuid=${run}&path=${encodeURIComponent(path)}`, body, headers)
const get = (path: string) => client.send('GET', `/get-artifact?run_id=${run}&path=${encodeURIComponent(path)}`)
const message = (answer: { json(): unknown }) => (answer.json() as { message: string }).message

test('a form is no artifact', async () => {
  for (const type of ['application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
    const answer = await upload('form', 'a=b', { 'content-type': type })
    expect([answer.status, message(answer)]).toEqual([400, 'Request must specify data.'])
  }
  expect((await get('form')).status).toBe(404)
})

test('an upload into a folder that is written in a roundabout way is refused', async () => {
  for (const path of ['./z', 'd/./z']) {
    const answer = await upload(path, 'x')
    expect([answer.status, message(answer)]).toEqual([400, expect.stringContaining('Invalid artifact path')])
  }
})

test('what is not there and what is a folder is named as it was asked for', async () => {
  expect(message(await get('d/'))).toBe(`Artifact path refers to a directory, not a file: '${root}/d/'`)
  expect(message(await get(''))).toBe(`Artifact path refers to a directory, not a file: '${root}/'`)
  expect(message(await get('./none'))).toBe(`No such artifact: '${root}/./none'`)
})

test('a slash after the name changes neither name nor type', async () => {
  const { status, headers, text } = await get('d/a.txt/')
  expect([status, headers['content-disposition'], headers['content-type'], text]).toEqual([
    200,
    'attachment; filename=a.txt',
    'text/plain',
    'text',
  ])
})

test.each([
  ['MLmodel', 'text/plain'],
  ['mlproject', 'text/plain'],
  ['MLproject', 'application/octet-stream'],
])('%s is served as %s', async (name, type) => {
  await upload(name, 'x')
  expect((await get(name)).headers['content-type']).toBe(type)
})

test('a presigned download whose run could not be read is of no run', async () => {
  const answer = await client.send(
    'POST',
    '/api/2.0/mlflow/artifacts/presigned-download-url',
    `{"expiration": true, "path": "p", "run_id": "${run}"}`,
    {
      'content-type': 'application/json',
    },
  )
  expect([answer.status, message(answer)]).toEqual([404, 'Run with id= not found'])
})

describe('ranges of a run artifact', () => {
  const ranged = (range: string, method = 'GET') => client.send(method, `/get-artifact?run_id=${run}&path=d/a.txt`, undefined, { range })

  test.each([
    ['bytes=1-2', 'ex'],
    ['bytes=-4', 'text'],
    ['bytes=2-99', 'xt'],
  ])('%s is %s', async (range, expected) => {
    const { status, text } = await ranged(range)
    expect([status, text]).toEqual([206, expected])
  })

  test.each(['bytes=4-', 'bytes=-5', 'bytes=-0', 'bytes=2-1', 'bytes=0-0,2-3', 'bytes=x', 'lines=1-2', 'nonsense'])(
    '%s is 416 with a page',
    async range => {
      const answer = await ranged(range)
      expect([answer.status, answer.headers['content-range']]).toEqual([416, 'bytes */4'])
      expect(answer.headers['content-type']).toMatch(/^text\/html/)
      expect(answer.text).toContain('The server cannot provide the requested range.')
      expect((await ranged(range, 'HEAD')).status).toBe(416)
    },
  )

  test('one of what is not there is 404', async () => {
    const answer = await client.send('GET', `/get-artifact?run_id=${run}&path=none`, undefined, { range: 'nonsense' })
    expect(answer.status).toBe(404)
  })

  test('an unchanged one is 304 under its name', async () => {
    const { headers } = await get('d/a.txt')
    const known = { 'if-none-match': headers.etag ?? '' }
    const answer = await client.send('GET', `/get-artifact?run_id=${run}&path=d/a.txt`, undefined, known)
    expect([answer.status, answer.headers['content-disposition']]).toEqual([304, 'attachment; filename=a.txt'])
  })
})
