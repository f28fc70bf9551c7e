import { join } from 'node:path'
import { expect, test } from 'vitest'
import { httpClient } from '../services/http.ts'
import { startMillrace } from '../services/millrace.ts'
import { eventually, tempFolder } from '../services/process.ts'
import { startSplit } from '../services/split.ts'

const api = '/api/2.0/mlflow'
const JOBS = '/millrace.jobs.v1.GarbageCollectionService/StartGarbageCollection'
const TEST_TIMEOUT_MS = 120_000

test('the id of a request is in the log of every service that it reached', { timeout: TEST_TIMEOUT_MS }, async () => {
  await using folder = await tempFolder('ids')
  await using split = await startSplit({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
    env: { MILLRACE_LOG_LEVEL: 'debug' },
  })
  using client = httpClient(split.url)
  const { run } = await client.ok<{ run: { info: { run_id: string } } }>('POST', `${api}/runs/create`, { experiment_id: '0' })
  const { run_id } = run.info
  const { gateway, metadata, artifacts, gcWorker } = split
  const services = { gateway, metadata, artifacts, gcWorker }
  const reached = (id: string, ...names: (keyof typeof services)[]) =>
    eventually(`${id} is logged by ${names}`, async () => {
      const found = Object.entries(services).filter(([, one]) => one.process.log().includes(`requestId="${id}"`))
      return found.map(([name]) => name).join() === names.join() || undefined
    })
  const send = async (id: string, method: string, path: string, body?: unknown) => {
    const answer = await client.send(method, path, body, { 'X-Request-Id': id, 'X-Millrace-Principal': 'admin' })
    return [answer.status, answer.headers['x-request-id']]
  }
  expect(await send('read-1', 'GET', `${api}/runs/get?run_id=${run_id}`)).toEqual([200, 'read-1'])
  await reached('read-1', 'gateway', 'metadata')
  expect(await send('list-1', 'GET', `${api}/artifacts/list?run_id=${run_id}`)).toEqual([200, 'list-1'])
  await reached('list-1', 'gateway', 'metadata', 'artifacts')
  expect(await send('put-1', 'PUT', '/api/2.0/mlflow-artifacts/artifacts/a.txt', Buffer.from('text'))).toEqual([200, 'put-1'])
  await reached('put-1', 'gateway', 'artifacts')
  expect(await send('get-1', 'GET', '/api/2.0/mlflow-artifacts/artifacts/a.txt')).toEqual([200, 'get-1'])
  await reached('get-1', 'gateway', 'artifacts')
  expect(await send('gc-1', 'POST', JOBS, {})).toEqual([200, 'gc-1'])
  await reached('gc-1', 'gateway', 'metadata', 'gcWorker')
})

test('an id of its own is made for a request that sends none that can be used, and shown with its failure', async () => {
  await using folder = await tempFolder('ids')
  await using server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
  })
  using client = httpClient(server.url)
  const idOf = async (path: string, sent?: string) =>
    (await client.send('GET', path, undefined, sent === undefined ? {} : { 'X-Request-Id': sent })).headers['x-request-id']
  const found = `${api}/experiments/get?experiment_id=0`
  const absent = `${api}/runs/get?run_id=absent`
  expect([await idOf(found), await idOf(found, 'mine'), await idOf(absent, 'mine')]).toEqual([undefined, 'mine', 'mine'])
  for (const sent of ['', 'two words', '"quoted"', 'ü', 'x'.repeat(129), '{braces}']) {
    expect(await idOf(found, Buffer.from(sent).toString('latin1'))).toBe(undefined)
  }
  const [one, other] = [await idOf(absent), await idOf(absent, 'two words')]
  expect([one, other].map(id => /^[\w-]{8,64}$/.test(String(id)))).toEqual([true, true])
  expect(one).not.toBe(other)
})
