import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { create, toBinary } from '@bufbuild/protobuf'
import { LogParamRequestSchema } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { expect, test } from 'vitest'
import { type Http2Client, http2Client } from '../services/http2.ts'
import { startMillrace } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'
import { startSplit } from '../services/split.ts'

const api = '/api/2.0/mlflow'
const LOG_PARAM = '/millrace.tracking.v1.RunService/LogParam'
const DEADLINE_MS = 400
const TEST_TIMEOUT_MS = 120_000

const STARTS = { 'in one process': startMillrace, 'over the network': startSplit }

interface Param {
  runId: string
  key: string
  value: string
}

/** Says nothing of a deadline on the client's side: what comes back is the server's. */
const PROTOCOLS: Record<string, (client: Http2Client, param: Param) => Promise<unknown>> = {
  async connect(client, param) {
    const headers = { 'connect-timeout-ms': String(DEADLINE_MS) }
    const { status, text } = await client.send('POST', LOG_PARAM, param, headers).answer
    return [status, JSON.parse(text).code]
  },
  async grpc(client, param) {
    const { headers, trailers } = await sendGrpc(client, 'application/grpc', param)
    return (trailers['grpc-status'] ?? headers['grpc-status']) === '4'
  },
  async 'grpc-web'(client, param) {
    const { headers, text } = await sendGrpc(client, 'application/grpc-web', param)
    return headers['grpc-status'] === '4' || text.includes('grpc-status: 4')
  },
}

const EXPECTED: Record<string, unknown> = { connect: [504, 'deadline_exceeded'], grpc: true, 'grpc-web': true }

function sendGrpc(client: Http2Client, type: string, param: Param) {
  const message = toBinary(LogParamRequestSchema, create(LogParamRequestSchema, param))
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  const headers = { 'content-type': type, te: 'trailers', 'grpc-timeout': `${DEADLINE_MS}m` }
  return client.send('POST', LOG_PARAM, Buffer.concat([head, message]), headers).answer
}

for (const [where, start] of Object.entries(STARTS)) {
  test(`a call is answered at its deadline, and what waits then is not done: ${where}`, { timeout: TEST_TIMEOUT_MS }, async () => {
    await using folder = await tempFolder('deadlines')
    const file = join(folder.path, 'mlflow.db')
    await using server = await start({
      cwd: folder.path,
      backendStoreUri: `sqlite:///${file}`,
      artifactsDestination: join(folder.path, 'artifacts'),
    })
    using client = http2Client(server.url)
    const made = await client.send('POST', `${api}/runs/create`, { experiment_id: '0' }).answer
    const runId: string = JSON.parse(made.text).run.info.run_id
    using locker = new DatabaseSync(file)
    locker.exec('PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE')
    const begun = client.send('POST', `${api}/runs/log-parameter`, { run_id: runId, key: 'begun', value: 'v' })
    for (let i = 0; i < 4; i++) await client.send('GET', `${api}/experiments/get?experiment_id=0`).answer
    const answers = await Promise.all(
      Object.entries(PROTOCOLS).map(async ([name, log]) => [name, await log(client, { runId, key: name, value: 'v' })]),
    )
    expect(Object.fromEntries(answers)).toEqual(EXPECTED)
    locker.exec('COMMIT')
    expect((await begun.answer).status).toBe(200)
    const found = await client.send('GET', `${api}/runs/get?run_id=${runId}`).answer
    expect(JSON.parse(found.text).run.data.params).toEqual([{ key: 'begun', value: 'v' }])
  })
}
