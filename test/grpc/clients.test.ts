import { globSync } from 'node:fs'
import { join } from 'node:path'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node'
import { ErrorDetailSchema } from '@millrace/proto/millrace/errors/v1/errors_pb'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { RunService } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { python } from '../compat/python.ts'
import { repository } from '../services/config.ts'
import { httpClient } from '../services/http.ts'
import { mlflowVenv } from '../services/install.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { runOk, type TempFolder, tempFolder } from '../services/process.ts'

let folder: TempFolder
let server: Millrace

beforeAll(async () => {
  folder = await tempFolder('grpc')
  server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
  })
})

afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
})

test('a Python gRPC client generated from proto/ logs, reads, searches, deletes for good', { timeout: 300_000 }, async () => {
  const bin = await mlflowVenv()
  const proto = join(repository, 'proto')
  const sources = [...globSync('millrace/**/*.proto', { cwd: proto }), ...globSync('google/api/*.proto', { cwd: proto })]
  const to = [`--python_out=${folder.path}`, `--grpc_python_out=${folder.path}`]
  await runOk(join(bin, 'python'), ['-m', 'grpc_tools.protoc', `-I${proto}`, ...to, ...sources], { cwd: folder.path })
  const env = { PYTHONPATH: folder.path }
  expect(await python('../grpc/session.py', server.url, { cwd: folder.path, args: [`127.0.0.1:${server.port}`], env })).toBe('done')
})

test.each([
  ['gRPC', () => createGrpcTransport({ baseUrl: server.url })],
  ['gRPC-Web over HTTP/1.1', () => createGrpcWebTransport({ baseUrl: server.url, httpVersion: '1.1' })],
  ['gRPC-Web over HTTP/2', () => createGrpcWebTransport({ baseUrl: server.url, httpVersion: '2' })],
  ['Connect over HTTP/1.1', () => createConnectTransport({ baseUrl: server.url, httpVersion: '1.1' })],
  ['Connect with JSON over HTTP/2', () => createConnectTransport({ baseUrl: server.url, httpVersion: '2', useBinaryFormat: false })],
])('%s: the same calls and the same errors', async (name, connect) => {
  const transport = connect()
  const experiments = createClient(ExperimentService, transport)
  const runs = createClient(RunService, transport)
  const metrics = createClient(MetricService, transport)
  const { experimentId } = await experiments.createExperiment({ name })
  const { run } = await runs.createRun({ experimentId, runName: name, startTime: 2n ** 40n })
  const runId = run?.info?.runId ?? ''
  await metrics.logMetric({ runId, key: 'm', value: Number.NaN, timestamp: 5n, step: 2n ** 40n })
  await runs.logBatch({ runId, params: [{ key: 'p', value: '日本' }] })
  const got = await runs.getRun({ runId })
  expect(got.run?.data?.metrics[0]).toMatchObject({ key: 'm', value: Number.NaN, timestamp: 5n, step: 2n ** 40n })
  expect(got.run?.data?.params[0]).toMatchObject({ key: 'p', value: '日本' })
  const found = await runs.searchRuns({ experimentIds: [experimentId ?? ''], filter: "params.p = '日本'" })
  expect(found.runs.map(r => r.info?.runId)).toEqual([runId])

  const error = await runs.getRun({ runId: '0'.repeat(32) }).then(
    () => undefined,
    reason => ConnectError.from(reason),
  )
  expect(error?.code).toBe(Code.NotFound)
  expect(error?.findDetails(ErrorDetailSchema)[0]?.errorCode).toBe('RESOURCE_DOES_NOT_EXIST')
})

test('a Connect call is a plain POST of JSON, as with curl', async () => {
  using client = httpClient(server.url)
  const call = (method: string, body: unknown) => client.send('POST', `/millrace.tracking.v1.${method}`, body)
  const made = (await call('ExperimentService/CreateExperiment', { name: 'curl' })).json() as { experimentId: string }
  const found = await call('ExperimentService/GetExperiment', { experimentId: made.experimentId })
  expect(found.json()).toMatchObject({ experiment: { name: 'curl', lifecycleStage: 'active' } })
  const missing = await call('RunService/GetRun', { runId: '0'.repeat(32) })
  expect([missing.status, (missing.json() as { code: string }).code]).toEqual([404, 'not_found'])
  const malformed = await call('RunService/GetRun', '{')
  expect(malformed.status).toBeGreaterThanOrEqual(400)
  expect(malformed.status).toBeLessThan(500)
})

test("the services' own calls are not served on the public port", async () => {
  using client = httpClient(server.url)
  for (const method of ['artifacts.v1.ArtifactStoreService/List', 'jobs.v1.MultipartUploadService/RecordUpload']) {
    const { status, text } = await client.send('POST', `/millrace.${method}`, { uri: 'file:///etc' })
    expect([404, 403, 501], text).toContain(status)
  }
})
