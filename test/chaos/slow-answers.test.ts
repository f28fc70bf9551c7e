import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { startAnsweringProxy } from '../services/answering.ts'
import { createBucket, describeWith } from '../services/backends.ts'
import { httpClient } from '../services/http.ts'
import { startMillrace } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'
import { startToxicProxy } from '../services/toxic.ts'

const api = '/api/2.0/mlflow-artifacts'
/** Each way: an answer takes twice as long, and the end of an upload of several requests comes after three of them. */
const LATENCY_MS = 2_200
const SMALL = randomBytes(100)
/** Three parts of an upload. */
const BIG = randomBytes(17 * 1024 * 1024)
const TEST_TIMEOUT_MS = 120_000

describeWith(['s3'], 'S3 that takes seconds for every answer, with the timeouts that are set by default', () => {
  test('every call is a success, and no write is made twice', { timeout: TEST_TIMEOUT_MS }, async () => {
    await using bucket = await createBucket('slow')
    await using folder = await tempFolder('slow')
    const { port, hostname } = new URL(bucket.env.MLFLOW_S3_ENDPOINT_URL ?? '')
    const writes: string[] = []
    await using recorder = await startAnsweringProxy({ host: hostname, port: Number(port) }, ({ method, url }) => {
      if (method !== 'GET' && method !== 'HEAD') writes.push(`${method} ${url}`)
      return undefined
    })
    await using proxy = await startToxicProxy(recorder)
    await using server = await startMillrace({
      cwd: folder.path,
      backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
      artifactsDestination: `${bucket.uri}/root`,
      env: { ...bucket.env, MLFLOW_S3_ENDPOINT_URL: `http://127.0.0.1:${proxy.port}` },
    })
    using client = httpClient(server.url)
    for (const name of ['read.bin', 'gone.bin']) expect((await client.send('PUT', `${api}/artifacts/f/${name}`, BIG)).status).toBe(200)
    writes.length = 0
    await proxy.set({ latencyMs: LATENCY_MS })

    const sendInParts = async () => {
      const upload = await client.send('POST', `${api}/mpu/create/f`, { path: 'parts.bin', num_parts: 1 })
      if (upload.status !== 200) return upload
      const { upload_id, credentials } = upload.json() as { upload_id: string; credentials: { url: string }[] }
      const [{ url } = { url: '' }] = credentials
      const part = await fetch(url, { method: 'PUT', body: new Uint8Array(SMALL) })
      const parts = [{ part_number: 1, etag: part.headers.get('etag'), url }]
      return client.send('POST', `${api}/mpu/complete/f`, { path: 'parts.bin', upload_id, parts })
    }
    const answers = await Promise.all([
      client.send('PUT', `${api}/artifacts/f/small.bin`, SMALL),
      client.send('PUT', `${api}/artifacts/f/big.bin`, BIG),
      client.send('GET', `${api}/artifacts/f/read.bin`),
      client.send('GET', `${api}/artifacts?path=f`),
      client.send('DELETE', `${api}/artifacts/f/gone.bin`),
      sendInParts(),
    ])
    expect(answers.map(({ status, text }) => (status === 200 ? status : text))).toEqual(answers.map(() => 200))
    expect(answers[2]?.body.equals(BIG)).toBe(true)
    expect(writes.toSorted()).toEqual([...new Set(writes)].toSorted())
    await proxy.set({})
    for (const [name, content] of Object.entries({ small: SMALL, big: BIG, parts: SMALL })) {
      expect((await client.send('GET', `${api}/artifacts/f/${name}.bin`)).body.equals(content), name).toBe(true)
    }
    expect(await bucket.keys()).toHaveLength(4)
    expect(await bucket.openUploads()).toBe(0)
  })
})
