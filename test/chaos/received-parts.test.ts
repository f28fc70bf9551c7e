import { createHash, randomBytes } from 'node:crypto'
import { readdir, readlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { filesBelow } from '../compat/deletion.ts'
import { createDatabase, describeWith } from '../services/backends.ts'
import { startCluster } from '../services/cluster.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { eventually, freePort, type TempFolder, tempFolder } from '../services/process.ts'
import { startRedis } from '../services/redis.ts'
import { createUpload, type SentPart, sendPart, type Upload } from '../services/uploads.ts'

const api = '/api/2.0/mlflow-artifacts'
const PART_BYTES = 64 * 1024 * 1024
const PARTS = 4
const RECOVERY_TIMEOUT_MS = 90_000

/** A client in the middle of a part, until the server goes away. */
function halfPart(url: string): void {
  const { hostname, port, pathname } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  socket.write(`PUT ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Length: ${PART_BYTES}\r\n\r\n`)
  socket.write(Buffer.alloc(PART_BYTES / 2))
}

async function site(folder: TempFolder) {
  const cwd = folder.path
  const port = await freePort()
  const store = join(cwd, 'artifacts')
  const options = { cwd, port, backendStoreUri: `sqlite:///${cwd}/mlflow.db`, artifactsDestination: store }
  return {
    store,
    start: (env: Record<string, string> = {}) => startMillrace({ ...options, env }),
    parts: async () => (await filesBelow(store)).filter(name => name.startsWith('.artifact.uploading.parts/')),
  }
}

async function sha256(client: HttpClient, path: string): Promise<string> {
  const { status, body } = await client.send('GET', `${api}/artifacts/${path}`)
  expect(status).toBe(200)
  return createHash('sha256').update(body).digest('hex')
}

test('an upload goes on after kill -9 in the middle of a part; one that nobody goes on with expires', async () => {
  await using folder = await tempFolder('parts')
  const { start, parts } = await site(folder)
  const content = [randomBytes(1_000_000), randomBytes(1_000_000), randomBytes(7)]
  let upload: Upload
  const sent: SentPart[] = []
  {
    await using server = await start()
    using client = httpClient(server.url)
    upload = await createUpload(client, 'big', 'resumed.bin', content.length)
    const lost = await createUpload(client, 'big', 'lost.bin', 2)
    await sendPart(client, lost.credentials[0]?.url ?? '', Buffer.from('never joined'), 1)
    sent.push(await sendPart(client, upload.credentials[0]?.url ?? '', content[0] as Buffer, 1))
    halfPart(upload.credentials[1]?.url ?? '')
    await eventually('a part is half there', async () =>
      (await parts()).some(name => /\.artifact\.uploading\.[^p]/.test(name)) ? true : undefined,
    )
    await server.process.end('SIGKILL')
  }
  {
    await using server = await start()
    using client = httpClient(server.url)
    const complete = () => client.send('POST', `${api}/mpu/complete/big`, { path: 'resumed.bin', upload_id: upload.upload_id, parts: sent })
    expect(await client.ok('GET', `${api}/artifacts?path=`)).toEqual({})
    for (const i of [1, 2]) sent.push(await sendPart(client, upload.credentials[i]?.url ?? '', content[i] as Buffer, i + 1))
    expect((await complete()).status).toBe(200)
    expect((await complete()).status).toBe(200)
    expect(await sha256(client, 'big/resumed.bin')).toBe(createHash('sha256').update(Buffer.concat(content)).digest('hex'))
    expect((await parts()).length, 'of the lost upload').toBe(2)
    expect(await client.ok('GET', '/api/3.0/millrace/multipart-uploads')).toMatchObject({
      uploads: [{ uri: 'mlflow-artifacts:/#big/lost.bin', state: 'OPEN', num_parts: 2 }],
    })
  }
  await sleep(1_000)
  await using server = await start({ MILLRACE_MULTIPART_UPLOAD_EXPIRY: '1s' })
  await eventually('the lost upload is gone', async () => ((await parts()).length === 0 ? true : undefined))
  using client = httpClient(server.url)
  const { files } = await client.ok<{ files: { path: string }[] }>('GET', `${api}/artifacts?path=big`)
  expect(files.map(file => file.path)).toEqual(['resumed.bin'])
})

test('a completion ends by itself after kill -9 in the middle of it', async () => {
  await using folder = await tempFolder('parts')
  const { store, start, parts } = await site(folder)
  const content = Array.from({ length: PARTS }, () => randomBytes(PART_BYTES))
  const whole = createHash('sha256')
  for (const part of content) whole.update(part)
  const path = 'joined.bin'
  let request: unknown
  {
    await using server = await start()
    using client = httpClient(server.url)
    const { upload_id, credentials } = await createUpload(client, 'big', path, PARTS)
    const sent = []
    for (const [i, { url }] of credentials.entries()) sent.push(await sendPart(client, url, content[i] as Buffer, i + 1))
    request = { path, upload_id, parts: sent }
    const completing = client.send('POST', `${api}/mpu/complete/big`, request).catch(() => undefined)
    await eventually('the parts are being joined', async () => ((await filesBelow(join(store, 'big'))).length > 0 ? true : undefined))
    await server.process.end('SIGKILL')
    await completing
    expect(await filesBelow(join(store, 'big')), 'killed before the end').not.toContain(path)
  }
  await using server = await start()
  using client = httpClient(server.url)
  expect((await client.send('GET', `${api}/artifacts/big/${path}`)).status).toBe(404)
  const there = async () => (await client.send('HEAD', `${api}/artifacts/big/${path}`)).status === 200 || undefined
  await eventually('the next process has joined the parts', there, RECOVERY_TIMEOUT_MS)
  expect(await sha256(client, `big/${path}`)).toBe(whole.digest('hex'))
  await eventually('no part is left', async () => ((await parts()).length === 0 ? true : undefined))
  expect((await client.send('POST', `${api}/mpu/complete/big`, request)).status).toBe(200)
})

/** Whether the process has a file open whose name begins so. */
async function hasOpen({ process }: Millrace, prefix: string): Promise<boolean> {
  const folder = `/proc/${process.pid}/fd`
  const links = (await readdir(folder)).map(fd => readlink(join(folder, fd)).catch(() => ''))
  return (await Promise.all(links)).some(path => path.startsWith(prefix))
}

describeWith(['postgres'], 'services as processes of their own', () => {
  test('another artifacts process joins the parts when the one at it is killed', async () => {
    await using folder = await tempFolder('parts')
    await using database = await createDatabase('parts')
    await using redis = await startRedis()
    const store = join(folder.path, 'store')
    const urls = { postgresUrl: database.url, redisUrl: redis.url, redisPrefix: 'chaos-parts' }
    await using cluster = await startCluster({ cwd: folder.path, ...urls, artifactsDestination: store, env: {} })
    using client = httpClient(cluster.url)
    const content = Array.from({ length: PARTS }, () => randomBytes(PART_BYTES))
    const { upload_id, credentials } = await createUpload(client, 'big', 'moved.bin', PARTS)
    const parts = []
    for (const [i, { url }] of credentials.entries()) parts.push(await sendPart(client, url, content[i] as Buffer, i + 1))
    const completing = client.send('POST', `${api}/mpu/complete/big`, { path: 'moved.bin', upload_id, parts })
    const joining = await eventually('a process joins the parts', async () => {
      for (const one of cluster.artifacts) if (await hasOpen(one, join(store, 'big/.artifact.uploading.'))) return one
      return undefined
    })
    await joining.process.end('SIGKILL')
    expect((await completing).status).toBe(200)
    const whole = createHash('sha256')
    for (const part of content) whole.update(part)
    expect(await sha256(client, 'big/moved.bin')).toBe(whole.digest('hex'))
  })
})
