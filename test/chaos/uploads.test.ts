import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { filesBelow } from '../compat/deletion.ts'
import { createBucket, describeWith } from '../services/backends.ts'
import { httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { eventually, tempFolder } from '../services/process.ts'

const base = '/api/2.0/mlflow-artifacts/artifacts'
const DECLARED_BYTES = 60 * 1024 * 1024
const SENT_BYTES = 24 * 1024 * 1024

/** A client that announces more than it sends and then dies without a word. */
async function dyingUpload(port: number, path: string, framing: 'length' | 'chunked'): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  const header = framing === 'length' ? `Content-Length: ${DECLARED_BYTES}` : 'Transfer-Encoding: chunked'
  socket.write(`PUT ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${header}\r\n\r\n`)
  const chunk = Buffer.alloc(1024 * 1024, 7)
  for (let sent = 0; sent < SENT_BYTES; sent += chunk.length) {
    if (framing === 'chunked') socket.write(`${chunk.length.toString(16)}\r\n`)
    const drained = socket.write(chunk)
    if (framing === 'chunked') socket.write('\r\n')
    if (!drained) await new Promise(resolve => socket.once('drain', resolve))
  }
  await sleep(100)
  socket.resetAndDestroy()
}

async function nothingVisible(server: Millrace, leftOver: () => Promise<unknown>): Promise<void> {
  using client = httpClient(server.url)
  await client.send('PUT', `${base}/up/old.bin`, 'old')
  await Promise.all([
    dyingUpload(server.port, `${base}/up/length.bin`, 'length'),
    dyingUpload(server.port, `${base}/up/chunked.bin`, 'chunked'),
    dyingUpload(server.port, `${base}/up/old.bin`, 'length'),
  ])
  await eventually('the half uploads are cleaned up', async () => ((await leftOver()) ? undefined : true))
  const listed = await client.ok<{ files: { path: string }[] }>('GET', `${base}?path=up`)
  expect(listed.files.map(file => file.path)).toEqual(['old.bin'])
  expect((await client.send('GET', `${base}/up/length.bin`)).status).toBe(404)
  expect((await client.send('GET', `${base}/up/chunked.bin`)).status).toBe(404)
  expect((await client.send('GET', `${base}/up/old.bin`)).text).toBe('old')
}

test('a killed upload leaves no file and no temporary file in a local folder, and the older file whole', async () => {
  await using folder = await tempFolder('upload')
  const store = join(folder.path, 'artifacts')
  await using server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: store,
  })
  await nothingVisible(server, async () => (await filesBelow(store)).filter(name => name !== 'up/old.bin').length > 0)
  expect(await filesBelow(store)).toEqual(['up/old.bin'])
})

test('a server killed in the middle of an upload shows no half file when it is back', async () => {
  await using folder = await tempFolder('upload')
  const options = {
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
  }
  {
    await using server = await startMillrace(options)
    const upload = dyingUpload(server.port, `${base}/up/half.bin`, 'length')
    await sleep(50)
    await server.process.end('SIGKILL')
    await Promise.race([upload, sleep(1_000)])
  }
  await using server = await startMillrace(options)
  using client = httpClient(server.url)
  expect((await client.send('GET', `${base}/up/half.bin`)).status).toBe(404)
  expect(await client.ok('GET', `${base}?path=up`)).toEqual({})
})

describeWith(['s3'], 'S3', () => {
  test('a killed upload leaves no object and no open multipart upload, and the older object whole', async () => {
    await using folder = await tempFolder('upload')
    await using bucket = await createBucket('upload')
    await using server = await startMillrace({
      cwd: folder.path,
      backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
      artifactsDestination: `${bucket.uri}/root`,
      env: bucket.env,
    })
    await nothingVisible(server, async () => (await bucket.openUploads()) > 0)
    expect(await bucket.keys()).toEqual(['root/up/old.bin'])
  })
})
