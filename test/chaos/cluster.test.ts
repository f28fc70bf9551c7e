import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { postgresRows, rowsOfRun } from '../compat/deletion.ts'
import { createBucket, createDatabase, describeWith } from '../services/backends.ts'
import { startCluster } from '../services/cluster.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { eventually, tempFolder } from '../services/process.ts'
import { startRedis } from '../services/redis.ts'

const api = '/api/2.0/mlflow'
const files = '/api/2.0/mlflow-artifacts/artifacts'
const DELETED_RUNS = 150
/** More than all buffers on the way hold. */
const DOWNLOAD_BYTES = 64 * 1024 * 1024
const CLUSTER_TIMEOUT_MS = 180_000
const GC_TIMEOUT_MS = 90_000

async function createRun(client: HttpClient, experiment_id: string): Promise<string> {
  const { run } = await client.ok<{ run: { info: { run_id: string } } }>('POST', `${api}/runs/create`, { experiment_id })
  return run.info.run_id
}

async function createExperiment(client: HttpClient, name: string): Promise<string> {
  return (await client.ok<{ experiment_id: string }>('POST', `${api}/experiments/create`, { name })).experiment_id
}

async function site(name: string) {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder(name))
  const database = stack.use(await createDatabase(name))
  const bucket = stack.use(await createBucket(name))
  const redis = stack.use(await startRedis())
  const cluster = stack.use(
    await startCluster({
      cwd: folder.path,
      postgresUrl: database.url,
      redisUrl: redis.url,
      redisPrefix: name,
      artifactsDestination: `${bucket.uri}/root`,
      env: bucket.env,
    }),
  )
  const client = stack.use(httpClient(cluster.url))
  const opened = stack.move()
  return { database, bucket, redis, cluster, client, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

describeWith(['postgres', 's3'], 'gateway, metadata, artifacts and gc-worker as processes of their own', () => {
  test('the loss of one metadata and one artifacts process goes unnoticed', { timeout: CLUSTER_TIMEOUT_MS }, async () => {
    await using s = await site('replicas')
    const { client, cluster } = s
    const runId = await createRun(client, await createExperiment(client, 'replicas'))
    const refused: string[] = []
    let calls = 0
    let stopped = false
    const check = async (what: string, call: Promise<{ status: number; text: string }>) => {
      const { status, text } = await call
      calls += 1
      if (status !== 200) refused.push(`${what} answered ${status}: ${text.slice(0, 200)}`)
    }
    const readers = Array.from({ length: 4 }, async (_, n) => {
      await check('put', client.send('PUT', `${files}/live/${n}`, 'content'))
      while (!stopped) {
        await check('get run', client.send('GET', `${api}/runs/get?run_id=${runId}`))
        await check('get artifact', client.send('GET', `${files}/live/${n}`))
        await check('list', client.send('GET', `${files}?path=live`))
      }
    })
    // Of an age at which its ETag tells every other version apart.
    const content = randomBytes(DOWNLOAD_BYTES)
    await check('put', client.send('PUT', `${files}/long`, content))
    await sleep(3_000)
    const downloads = await Promise.all(Array.from({ length: 4 }, () => fetch(`${cluster.url}${files}/long`)))
    await cluster.metadata[0].process.end('SIGKILL')
    await sleep(500)
    await cluster.artifacts[1].process.end('SIGKILL')
    for (const download of downloads) expect(content.equals(new Uint8Array(await download.arrayBuffer()))).toBe(true)
    await sleep(1_000)
    for (let n = 0; n < 50; n++) {
      await check('log', client.send('POST', `${api}/runs/log-metric`, { run_id: runId, key: 'm', value: n, timestamp: 1, step: n }))
      await check('put', client.send('PUT', `${files}/after/${n}`, 'content'))
    }
    stopped = true
    await Promise.all(readers)
    expect(refused).toEqual([])
    expect(calls).toBeGreaterThan(200)
    const { metrics } = await client.ok<{ metrics: unknown[] }>('GET', `${api}/metrics/get-history?run_id=${runId}&metric_key=m`)
    expect(metrics).toHaveLength(50)
    expect((await client.send('GET', '/health')).status).toBe(200)
  })

  test('gc ends complete when Redis is killed and comes back empty in the middle', { timeout: CLUSTER_TIMEOUT_MS }, async () => {
    await using s = await site('redis')
    const { client, redis, bucket } = s
    const experimentId = await createExperiment(client, 'redis')
    const runs = await Promise.all(Array.from({ length: DELETED_RUNS }, () => createRun(client, experimentId)))
    const root = `${files}/${experimentId}`
    for (const runId of runs) {
      await client.ok('POST', `${api}/runs/log-metric`, { run_id: runId, key: 'm', value: 1, timestamp: 1, step: 1 })
      expect((await client.send('PUT', `${root}/${runId}/artifacts/a.txt`, 'x')).status).toBe(200)
      await client.ok('POST', `${api}/runs/delete`, { run_id: runId })
    }
    const kept = await createRun(client, experimentId)
    const job = async (id: string) =>
      (await client.ok<{ job: { state: string; done_items?: number } }>('GET', `/api/3.0/millrace/gc/jobs/${id}`)).job
    const started = await client.ok<{ job: { job_id: string } }>('POST', '/api/3.0/millrace/gc/jobs', { run_ids: runs })
    const { job_id } = started.job
    await eventually('gc is at work', async () => ((await job(job_id)).done_items ?? 0) > 0 || undefined)
    await redis.kill()
    expect((await job(job_id)).state, 'killed in the middle').toBe('RUNNING')
    await sleep(2_000)
    await redis.restart()
    await eventually('gc has ended well', async () => ((await job(job_id)).state === 'SUCCEEDED' ? true : undefined), GC_TIMEOUT_MS)
    const rows = postgresRows(s.database.url)
    for (const runId of runs) expect(await rowsOfRun(rows, runId)).toEqual({ runs: 0, metrics: 0, latest_metrics: 0, params: 0, tags: 0 })
    expect(await bucket.keys()).toEqual([])
    expect((await rowsOfRun(rows, kept)).runs).toBe(1)

    const next = await createRun(client, experimentId)
    await client.ok('POST', `${api}/runs/delete`, { run_id: next })
    const second = await client.ok<{ job: { job_id: string } }>('POST', '/api/3.0/millrace/gc/jobs', { run_ids: [next] })
    await eventually('the queue works again', async () => (await job(second.job.job_id)).state === 'SUCCEEDED' || undefined)
  })
})
