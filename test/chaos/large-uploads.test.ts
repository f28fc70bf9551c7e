import { createHash, randomBytes } from 'node:crypto'
import { open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { python } from '../compat/python.ts'
import { createDatabase, describeWithServer } from '../services/backends.ts'
import { type Cluster, startCluster } from '../services/cluster.ts'
import { readTestConfig } from '../services/config.ts'
import { httpClient } from '../services/http.ts'
import { mlflowVenv } from '../services/install.ts'
import { startMillrace } from '../services/millrace.ts'
import { eventually, type TempFolder, tempFolder } from '../services/process.ts'
import { startRedis } from '../services/redis.ts'
import { openAzure } from './sites/azure.ts'
import { openGcs } from './sites/gcs.ts'
import { openLocal } from './sites/local.ts'
import { openS3 } from './sites/s3.ts'
import type { Site } from './sites/site.ts'
import { type Watch, type Whole, watch } from './watch.ts'

const { uploadBytes } = readTestConfig()
const MIB = 1024 * 1024
const BYTES = uploadBytes ?? 64 * MIB + 1
const PARTS = 10
const PART_BYTES = Math.ceil(BYTES / PARTS / MIB) * MIB
const ACKNOWLEDGED_PARTS = 3
const ROW_TIMEOUT_MS = uploadBytes ? 3_600_000 : 180_000
const NAME = 'large.bin'

const sizes = {
  MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD: 'true',
  MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE: String(PART_BYTES),
  MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE: String(PART_BYTES),
  MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE: String(PART_BYTES),
  MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE: String(PART_BYTES),
  MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR: '1',
  MLFLOW_HTTP_REQUEST_BACKOFF_JITTER: '0',
}

type LargeSite = Pick<Site, 'destination' | 'env' | 'contents' | 'parts'> & AsyncDisposable

/** A moment in a completion at which the artifacts services are killed. */
interface Moment<S> {
  name: string
  /** Resolves when it has come. @param folder of the artifact. */
  reached(site: S, folder: string): Promise<void>
  isWritten: boolean
}

let source: TempFolder
let file: string
let whole: Whole

beforeAll(async () => {
  await mlflowVenv()
  source = await tempFolder('large')
  file = join(source.path, NAME)
  whole = await makeFile(file, BYTES)
})

afterAll(() => source[Symbol.asyncDispose]())

async function makeFile(path: string, sizeBytes: number): Promise<Whole> {
  const hash = createHash('sha256')
  await using handle = await open(path, 'wx')
  for (let left = sizeBytes; left > 0; left -= Math.min(left, 8 * MIB)) {
    const block = randomBytes(Math.min(left, 8 * MIB))
    hash.update(block)
    await handle.writeFile(block)
  }
  return { sizeBytes, sha256: hash.digest('hex') }
}

async function peakMiB(pid: number): Promise<number> {
  const kib = /^VmHWM:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(kib) / 1024)
}

async function openCluster({ destination, env, parts }: LargeSite): Promise<Cluster & { cwd: string }> {
  await using stack = new AsyncDisposableStack()
  const cwd = stack.use(await tempFolder('large')).path
  const database = stack.use(await createDatabase('large'))
  const redis = stack.use(await startRedis())
  const urls = { postgresUrl: database.url, redisUrl: redis.url, redisPrefix: 'large' }
  const all = { ...env, ...parts?.env }
  const cluster = stack.use(await startCluster({ cwd, ...urls, artifactsDestination: destination, env: all }))
  const opened = stack.move()
  return Object.assign(cluster, { cwd, [Symbol.asyncDispose]: () => opened.disposeAsync() })
}

test('the watch notices what is half there, other bytes, and what goes away', async () => {
  await using folder = await tempFolder('watch')
  const options = {
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'store'),
  }
  await using server = await startMillrace(options)
  using client = httpClient(server.url)
  const bytes = randomBytes(MIB)
  const right = { sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
  const path = `/api/2.0/mlflow-artifacts/artifacts/watched/${NAME}`
  const findings = async (content: Buffer) => {
    await client.send('PUT', path, content)
    return await watch(server.url, 'watched', NAME, right).end()
  }
  expect(await findings(bytes)).toEqual([])
  const half = ['listed: large.bin of 524288 bytes', 'read: announced as 524288 bytes', 'read: other bytes']
  expect(await findings(bytes.subarray(0, bytes.length / 2))).toEqual(half)
  expect(await findings(Buffer.alloc(bytes.length))).toEqual(['read: other bytes'])
  const watching = watch(server.url, 'watched', NAME, right)
  await eventually('it is seen', async () => watching.isSeen() || undefined)
  await client.send('DELETE', path)
  expect(await watching.end()).toContain('at the end: listed as nothing, read as nothing')
})

/** What every store has to withstand. */
async function testLargeUploads<S extends LargeSite>(name: string, begin: () => Promise<S>, moments: readonly Moment<S>[]): Promise<void> {
  await describeWithServer(`large uploads to ${name}`, begin, site => {
    let cluster: Awaited<ReturnType<typeof openCluster>>
    const figures: Record<string, unknown> = {}

    beforeAll(async () => {
      cluster = await openCluster(site)
    })

    afterAll(async () => {
      await using _closed = cluster
      figures.gatewayPeakMiB = await peakMiB(cluster.gateway.process.pid)
      await noteArtifactsPeak()
      if (uploadBytes) console.log(name, JSON.stringify(figures))
    })

    const noteArtifactsPeak = async () => {
      const peaks = await Promise.all(cluster.artifacts.map(({ process }) => peakMiB(process.pid)))
      figures.artifactsPeakMiB = Math.max(Number(figures.artifactsPeakMiB ?? 0), ...peaks)
    }

    const kill = async () => {
      await noteArtifactsPeak()
      await cluster.killArtifacts()
    }

    const createRun = async () => {
      using client = httpClient(cluster.url)
      const { run } = await client.ok<{ run: { info: { run_id: string; artifact_uri: string } } }>('POST', '/api/2.0/mlflow/runs/create', {
        experiment_id: '0',
      })
      return { id: run.info.run_id, folder: `${run.info.artifact_uri.replace('mlflow-artifacts:/', '')}/models` }
    }

    const upload = async (runId: string, pauseAfter: string[] = []) => {
      const options = { args: [runId, file, ...pauseAfter], cwd: cluster.cwd, env: sizes, timeoutMs: ROW_TIMEOUT_MS }
      return JSON.parse(await python('upload_in_parts.py', cluster.url, options)) as { error: string | null; listed: string[] }
    }

    const isWritten = async (folder: string) =>
      (await (site.parts?.objects() ?? site.contents())).some(path => path.endsWith(`${folder}/${NAME}`))

    const endsWell = async (watching: Watch) => {
      expect(await watching.end()).toEqual([])
      using client = httpClient(cluster.url)
      expect(await client.ok('GET', '/api/3.0/millrace/multipart-uploads'), 'open uploads').toEqual({})
    }

    test('the Python client sends and fetches parts', { timeout: ROW_TIMEOUT_MS }, async () => {
      const env = { ...sizes, S3_ENDPOINT: site.parts?.endpoint ?? 'http://no.store', TRANSFER_BYTES: String(BYTES) }
      const options = { cwd: cluster.cwd, env, timeoutMs: ROW_TIMEOUT_MS }
      const { up, down, up_seconds, down_seconds } = JSON.parse(await python('multipart_transfer.py', cluster.url, options))
      expect(up[site.parts ? 'PUT store' : 'PUT server']).toBe(PARTS)
      expect(up[site.parts ? 'PUT server' : 'PUT store']).toBeUndefined()
      if (site.parts) expect(down['GET store']).toBeGreaterThanOrEqual(PARTS)
      const rate = (seconds: number) => `${seconds.toFixed(1)} s, ${Math.round(BYTES / MIB / seconds)} MiB/s`
      Object.assign(figures, { up: rate(up_seconds), down: rate(down_seconds) })
    })

    test('kill -9 between parts: completed or aborted, never half there, and can be repeated', { timeout: ROW_TIMEOUT_MS }, async () => {
      const { id, folder } = await createRun()
      const [paused, go] = ['paused', 'go'].map(name => join(cluster.cwd, name)) as [string, string]
      const watching = watch(cluster.url, folder, NAME, whole)
      const uploading = upload(id, [String(ACKNOWLEDGED_PARTS)])
      await eventually('some parts are acknowledged', () => readFile(paused).catch(() => undefined), ROW_TIMEOUT_MS)
      await kill()
      await writeFile(go, '')
      await cluster.startArtifacts()
      const { error, listed } = await uploading
      expect(listed).toEqual(error ? [] : [NAME])
      figures.killedBetweenParts = error ? `aborted: ${error}` : 'completed'
      expect(await upload(id)).toEqual({ error: null, listed: [NAME] })
      await endsWell(watching)
      expect((await site.contents()).filter(path => path.includes(folder)).length, 'nothing beside it').toBe(1)
      await Promise.all([paused, go].map(path => rm(path)))
    })

    test.each(moments)('kill -9 during the completion, $name: it ends whole', { timeout: ROW_TIMEOUT_MS }, async moment => {
      const { id, folder } = await createRun()
      const watching = watch(cluster.url, folder, NAME, whole)
      const reached = moment.reached(site, folder)
      const uploading = upload(id)
      await reached
      await kill()
      const wasWritten = await isWritten(folder)
      await cluster.startArtifacts()
      expect(wasWritten, 'at the kill').toBe(moment.isWritten)
      expect(await uploading).toEqual({ error: null, listed: [NAME] })
      await endsWell(watching)
      figures[`killed ${moment.name}`] = 'completed'
    })
  })
}

const storeMoments: Moment<LargeSite>[] = [
  { name: 'before the store was told', reached: async site => site.parts?.loseJoin('request'), isWritten: false },
  { name: 'before the store has answered', reached: async site => site.parts?.loseJoin('answer'), isWritten: true },
]

await testLargeUploads('a local folder', openLocal, [
  { name: 'half written', reached: (site, folder) => site.written(folder), isWritten: false },
])
await testLargeUploads('S3', openS3, storeMoments)
await testLargeUploads('Google Cloud Storage', openGcs, storeMoments)
await testLargeUploads('Azure', openAzure, storeMoments)
