import { createHash, randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { filesBelow } from '../compat/deletion.ts'
import { createBucket, describeWith } from '../services/backends.ts'
import { httpClient } from '../services/http.ts'
import { startTarget } from '../services/millrace.ts'
import { eventually, tempFolder } from '../services/process.ts'
import { createUpload, sendPart } from '../services/uploads.ts'

const api = '/api/2.0/mlflow-artifacts'
const uploads = '/api/3.0/millrace/multipart-uploads'
const PART_BYTES = 64 * 1024 * 1024
const RECOVERY_TIMEOUT_MS = 90_000

function artifactsOnly(cwd: string, destination: string, env: Record<string, string> = {}) {
  return startTarget('server', { cwd, env, args: ['--artifacts-only', '--artifacts-destination', destination] })
}

const EXPIRING = { MILLRACE_MULTIPART_UPLOAD_EXPIRY: '1s' }

test('an abandoned upload is listed, expires and is aborted', async () => {
  await using folder = await tempFolder('only')
  const store = join(folder.path, 'artifacts')
  const parts = async () => (await filesBelow(store)).filter(name => name.startsWith('.artifact.uploading.parts/'))
  {
    await using server = await artifactsOnly(folder.path, store)
    using client = httpClient(server.url)
    const { credentials } = await createUpload(client, 'dir', 'lost.bin', 2)
    await sendPart(client, credentials[0]?.url ?? '', Buffer.from('never joined'), 1)
    expect(await client.ok('GET', uploads)).toMatchObject({
      uploads: [{ uri: 'mlflow-artifacts:/#dir/lost.bin', state: 'OPEN', num_parts: 2 }],
    })
    expect((await parts()).length).toBeGreaterThan(0)
  }
  await sleep(1_000)
  await using server = await artifactsOnly(folder.path, store, EXPIRING)
  await eventually('its parts are gone', async () => ((await parts()).length === 0 ? true : undefined))
  using client = httpClient(server.url)
  await eventually('it is off the list', async () => (JSON.stringify(await client.ok('GET', uploads)) === '{}' ? true : undefined))
  expect(await client.ok('GET', `${api}/artifacts?path=`)).toEqual({})
})

test('a completion ends by itself after kill -9 in the middle of it', async () => {
  await using folder = await tempFolder('only')
  const store = join(folder.path, 'artifacts')
  const content = Array.from({ length: 3 }, () => randomBytes(PART_BYTES))
  {
    await using server = await artifactsOnly(folder.path, store)
    using client = httpClient(server.url)
    const { upload_id, credentials } = await createUpload(client, 'dir', 'joined.bin', content.length)
    const parts = []
    for (const [i, { url }] of credentials.entries()) parts.push(await sendPart(client, url, content[i] as Buffer, i + 1))
    const completing = client.send('POST', `${api}/mpu/complete/dir`, { path: 'joined.bin', upload_id, parts }).catch(() => undefined)
    await eventually('the parts are being joined', async () => ((await filesBelow(join(store, 'dir'))).length > 0 ? true : undefined))
    await server.process.end('SIGKILL')
    await completing
    expect(await filesBelow(join(store, 'dir')), 'killed before the end').not.toContain('joined.bin')
  }
  await using server = await artifactsOnly(folder.path, store)
  using client = httpClient(server.url)
  const there = async () => (await client.send('HEAD', `${api}/artifacts/dir/joined.bin`)).status === 200 || undefined
  await eventually('the next process has joined the parts', there, RECOVERY_TIMEOUT_MS)
  const { body } = await client.send('GET', `${api}/artifacts/dir/joined.bin`)
  expect(createHash('sha256').update(body).digest('hex')).toBe(createHash('sha256').update(Buffer.concat(content)).digest('hex'))
})

test('what needs a tracking database is refused in words, garbage collection included', async () => {
  await using folder = await tempFolder('only')
  await using server = await artifactsOnly(folder.path, 'artifacts')
  using client = httpClient(server.url)
  for (const path of ['/api/2.0/mlflow/runs/create', '/api/3.0/millrace/gc/jobs']) {
    expect(await client.send('POST', path, {})).toMatchObject({
      status: 503,
      text: `Endpoint: ${path} disabled due to the mlflow server running in \`--artifacts-only\` mode. To enable tracking server functionality, run \`mlflow server\` without \`--artifacts-only\``,
    })
  }
  expect((await client.send('GET', '/ready')).json()).toEqual({ status: 'ready', parts: { artifacts: 'ready', jobs: 'ready' } })
})

test('services of their own: the gc-worker needs no metadata service', async () => {
  await using folder = await tempFolder('only')
  const { path: cwd } = folder
  const begin = async (env: Record<string, string> = {}) => {
    await using stack = new AsyncDisposableStack()
    const target = async (name: string, ...args: string[]) => stack.use(await startTarget(name, { cwd, env, args }))
    const artifacts = ['--artifacts-only', '--artifacts-url', (await target('artifacts', '--artifacts-destination', 'store')).url]
    const { url: jobs } = await target('gc-worker', ...artifacts)
    const { url } = await target('gateway', ...artifacts, '--jobs-url', jobs)
    const owned = stack.move()
    return { url, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }
  {
    await using gateway = await begin()
    using client = httpClient(gateway.url)
    await createUpload(client, 'dir', 'lost.bin', 2)
    expect(await client.ok('GET', uploads)).toMatchObject({ uploads: [{ uri: 'mlflow-artifacts:/#dir/lost.bin' }] })
    expect((await client.send('POST', '/api/3.0/millrace/gc/jobs', {})).status).toBe(503)
  }
  await sleep(1_000)
  await using gateway = await begin(EXPIRING)
  using client = httpClient(gateway.url)
  await eventually('it is off the list', async () => (JSON.stringify(await client.ok('GET', uploads)) === '{}' ? true : undefined))
})

test('servers of different destinations in one folder leave each other alone', async () => {
  await using folder = await tempFolder('only')
  const cwd = folder.path
  await using one = await artifactsOnly(cwd, 'one')
  await using two = await artifactsOnly(cwd, 'two')
  for (const [server, path] of [
    [one, '1.bin'],
    [two, '2.bin'],
  ] as const) {
    using client = httpClient(server.url)
    await createUpload(client, 'dir', path, 1)
    expect(await client.ok('GET', uploads)).toMatchObject({ uploads: [{ uri: `mlflow-artifacts:/#dir/${path}` }] })
  }
  expect((await readdir(cwd)).filter(name => /^millrace-artifacts-[0-9a-f]{8}\.db$/.test(name)).length).toBe(2)
})

describeWith(['s3'], 'S3', () => {
  test('an abandoned upload is aborted in the store', async () => {
    await using folder = await tempFolder('only')
    await using bucket = await createBucket('only')
    const start = () => artifactsOnly(folder.path, `${bucket.uri}/root`, { ...bucket.env, ...EXPIRING })
    {
      await using server = await start()
      using client = httpClient(server.url)
      await createUpload(client, 'dir', 'lost.bin', 2)
      expect(await bucket.openUploads()).toBe(1)
    }
    await sleep(1_000)
    await using _server = await start()
    await eventually('it is gone', async () => ((await bucket.openUploads()) === 0 ? true : undefined))
  })
})
