import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { createBucket, createDatabase, describeWith } from '../services/backends.ts'
import { startCluster } from '../services/cluster.ts'
import { readTestConfig } from '../services/config.ts'
import { mlflowVenv } from '../services/install.ts'
import { millrace, startMillrace } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'
import { filesBelow, postgresRows, type Rows, rowsOfRun, sqliteRows } from './deletion.ts'
import { python } from './python.ts'

interface Deleted {
  run_id: string
  artifact_uri: string
  kept: string
  experiment_id: string
  model_id: string
  kept_model: string
}

interface Site {
  url: string
  cwd: string
  rows: Rows
  /** Names of everything in the artifact store. */
  files: () => Promise<string[]>
  gc: (...args: string[]) => ReturnType<typeof millrace>
}

const SESSION_TIMEOUT_MS = 180_000

/** The client session, then gc: what was deleted is out of the database and the artifact store, what was not is whole. */
async function sessionAndGc({ url, cwd, rows, files, gc }: Site): Promise<void> {
  const deleted = JSON.parse(await python('session.py', url, { cwd })) as Deleted
  expect((await rowsOfRun(rows, deleted.run_id)).metrics).toBeGreaterThan(10)
  expect((await files()).filter(name => name.includes(deleted.run_id)).length).toBeGreaterThan(5)

  expect((await files()).some(name => name.includes(deleted.model_id))).toBe(true)

  const young = await gc('--older-than', '30d')
  expect(young, young.stderr).toMatchObject({ code: 0 })
  expect((await rowsOfRun(rows, deleted.run_id)).runs, 'too young to be removed').toBe(1)

  const outcome = await gc()
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 })
  expect(outcome.stdout + outcome.stderr).toContain(`Run with ID ${deleted.run_id} has been permanently deleted.`)
  expect(await rowsOfRun(rows, deleted.run_id)).toEqual({ runs: 0, metrics: 0, latest_metrics: 0, params: 0, tags: 0 })
  expect(await rows('select name from experiments where experiment_id = ?', deleted.experiment_id)).toEqual([])
  expect((await files()).filter(name => name.includes(deleted.run_id))).toEqual([])
  expect((await files()).some(name => name.includes(deleted.kept))).toBe(true)
  expect(outcome.stdout + outcome.stderr).toContain(`Logged model with ID ${deleted.model_id} has been permanently deleted.`)
  expect(await rows('select model_id from logged_models where model_id = ?', deleted.model_id)).toEqual([])
  expect(await rows('select param_key from logged_model_params where model_id = ?', deleted.model_id)).toEqual([])
  expect((await files()).filter(name => name.includes(deleted.model_id))).toEqual([])
  expect((await files()).some(name => name.includes(deleted.kept_model))).toBe(true)
  expect(await python('after_gc.py', url, { cwd, args: [deleted.run_id, deleted.kept, deleted.experiment_id] })).toBe('gone')

  const again = await gc()
  expect(again, again.stderr).toMatchObject({ code: 0 })
}

beforeAll(async () => {
  await mlflowVenv()
})

describe('all in one process, SQLite and a local folder', () => {
  test('a Python session, then gc removes rows and files', { timeout: SESSION_TIMEOUT_MS }, async () => {
    await using folder = await tempFolder('embedded')
    const cwd = folder.path
    const store = { backendStoreUri: `sqlite:///${cwd}/mlflow.db`, artifactsDestination: join(cwd, 'artifacts') }
    await using server = await startMillrace({ cwd, ...store })
    await sessionAndGc({
      url: server.url,
      cwd,
      rows: sqliteRows(join(cwd, 'mlflow.db')),
      files: () => filesBelow(store.artifactsDestination),
      gc: (...args) => millrace(['gc', '--tracking-uri', server.url, ...args], { cwd }),
    })
  })
})

describeWith(['postgres', 'redis', 's3'], 'gateway, metadata, artifacts and gc-worker as processes of their own', () => {
  test('a Python session, then gc removes rows and objects', { timeout: SESSION_TIMEOUT_MS }, async () => {
    await using folder = await tempFolder('cluster')
    await using database = await createDatabase('compat')
    await using bucket = await createBucket('compat')
    const cwd = folder.path
    await using cluster = await startCluster({
      cwd,
      postgresUrl: database.url,
      redisUrl: readTestConfig().redisUrl ?? '',
      redisPrefix: `compat-${process.pid}`,
      artifactsDestination: `${bucket.uri}/root`,
      env: bucket.env,
    })
    await sessionAndGc({
      url: cluster.url,
      cwd,
      rows: postgresRows(database.url),
      files: () => bucket.keys(),
      gc: (...args) => millrace(['gc', '--tracking-uri', cluster.url, ...args], { cwd }),
    })
  })
})

describeWith(['s3'], 'multipart upload and presigned download', () => {
  test('parts go to S3 and ranges come from S3, not through the server', { timeout: SESSION_TIMEOUT_MS }, async () => {
    await using folder = await tempFolder('multipart')
    await using bucket = await createBucket('multipart')
    const cwd = folder.path
    const store = { backendStoreUri: `sqlite:///${cwd}/mlflow.db`, artifactsDestination: `${bucket.uri}/root` }
    await using server = await startMillrace({ cwd, ...store, env: bucket.env })
    const limits = { MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE: '6000000', MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE: '5242880' }
    const ranges = { MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE: '5242880' }
    const env = { S3_ENDPOINT: bucket.env.MLFLOW_S3_ENDPOINT_URL ?? '', ...limits, ...ranges }
    const forced = { MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD: 'true', MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD: 'true' }
    const refused = { MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD: 'false', MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD: 'false' }

    const sent = JSON.parse(await python('multipart_transfer.py', server.url, { cwd, env: { ...env, ...forced } }))
    expect(sent.up['PUT store']).toBe(4)
    expect(sent.up['PUT server']).toBeUndefined()
    expect(sent.down['GET store']).toBeGreaterThanOrEqual(4)
    expect(await bucket.openUploads()).toBe(0)

    const advertised = JSON.parse(await python('multipart_transfer.py', server.url, { cwd, env }))
    expect(advertised.up['PUT store'], 'server-info offers multipart').toBe(4)

    const proxied = JSON.parse(await python('multipart_transfer.py', server.url, { cwd, env: { ...env, ...refused } }))
    expect(proxied.up['PUT server']).toBe(1)
    expect(proxied.down['GET store']).toBeUndefined()
  })
})
