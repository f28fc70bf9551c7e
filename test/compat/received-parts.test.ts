import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { createDatabase, describeWith } from '../services/backends.ts'
import { startCluster } from '../services/cluster.ts'
import { mlflowVenv } from '../services/install.ts'
import { startMillrace } from '../services/millrace.ts'
import { startMlflow } from '../services/mlflow.ts'
import { tempFolder } from '../services/process.ts'
import { startRedis } from '../services/redis.ts'
import { filesBelow } from './deletion.ts'
import { python } from './python.ts'

const SESSION_TIMEOUT_MS = 480_000

const sizes = {
  S3_ENDPOINT: 'http://no.store',
  MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE: '6000000',
  MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE: '5242880',
}
const forced = { ...sizes, MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD: 'true' }

beforeAll(async () => {
  await mlflowVenv()
})

/** The Python client sends four parts to the server, which keeps nothing but what it was to keep. */
async function uploadInParts(url: string, cwd: string, store: string): Promise<void> {
  for (const env of [forced, sizes]) {
    const { up, down } = JSON.parse(await python('multipart_transfer.py', url, { cwd, env }))
    expect(up['PUT server']).toBe(4)
    expect(down['GET store']).toBeUndefined()
  }
  expect((await filesBelow(store)).filter(name => /\.uploading\./.test(name))).toEqual([])
}

test.each([
  ['', []],
  ['/team', ['--static-prefix', '/team']],
])('the Python client uploads in parts to a local folder, below "%s"', { timeout: SESSION_TIMEOUT_MS }, async (prefix, args) => {
  await using folder = await tempFolder('parts')
  const cwd = folder.path
  const store = join(cwd, 'store')
  const backendStoreUri = `sqlite:///${cwd}/mlflow.db`
  await using server = await startMillrace({ cwd, backendStoreUri, artifactsDestination: store, args })
  await uploadInParts(server.url + prefix, cwd, store)
})

test.each([
  ['MLflow', startMlflow],
  ['Millrace', startMillrace],
])(
  'the Python client uploads in parts to an artifact store that %s’s server proxies',
  { timeout: SESSION_TIMEOUT_MS },
  async (_, start) => {
    await using folder = await tempFolder('parts')
    const cwd = folder.path
    const store = join(cwd, 'store')
    const theirs = join(cwd, 'theirs')
    await mkdir(theirs)
    await using other = await start({ cwd: theirs, backendStoreUri: `sqlite:///${theirs}/mlflow.db`, artifactsDestination: store })
    const artifactsDestination = `${other.url}/api/2.0/mlflow-artifacts/artifacts`
    await using server = await startMillrace({ cwd, backendStoreUri: `sqlite:///${cwd}/mlflow.db`, artifactsDestination })
    await uploadInParts(server.url, cwd, store)
  },
)

describeWith(['postgres'], 'services as processes of their own', () => {
  test('the Python client uploads in parts to a folder that two processes share', { timeout: SESSION_TIMEOUT_MS }, async () => {
    await using folder = await tempFolder('parts')
    await using database = await createDatabase('parts')
    await using redis = await startRedis()
    const cwd = folder.path
    const store = join(cwd, 'store')
    const urls = { postgresUrl: database.url, redisUrl: redis.url, redisPrefix: 'parts' }
    await using cluster = await startCluster({ cwd, ...urls, artifactsDestination: store, env: {} })
    await uploadInParts(cluster.url, cwd, store)
  })
})
