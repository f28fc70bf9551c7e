import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../services/backends.ts'
import type { Cluster, Member } from '../services/cluster.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { eventually, freeze } from '../services/process.ts'
import { type ClusterSite, openClusterSite } from './cluster-site.ts'
import { startLoad } from './mixed-load.ts'

const api = '/api/2.0/mlflow'
const files = '/api/2.0/mlflow-artifacts/artifacts'
/** The promise is some seconds. Here several suites share the machine. */
const ANSWER_MS_MAX = 25_000
/** Longer than a sign of life is waited for. */
const FROZEN_MS = 8_000
/** More than all buffers on the way hold. */
const DOWNLOAD_BYTES = 64 * 1024 * 1024
const RUN_TIMEOUT_MS = 240_000

const ALL_READY = { status: 'ready', parts: { artifacts: 'ready', metadata: 'ready', jobs: 'ready' } }

describeWith(['postgres'], 'replicas that are there and do not answer', () => {
  let site: ClusterSite
  let cluster: Cluster
  let client: HttpClient
  const frozen = new Set<Member>()

  beforeAll(async () => {
    site = await openClusterSite('silent')
    cluster = site.cluster
    client = httpClient(cluster.url)
  })

  afterAll(async () => {
    thaw()
    client?.[Symbol.dispose]()
    await site?.[Symbol.asyncDispose]()
  })

  const stop = async (...members: Member[]) => {
    for (const one of members) {
      frozen.add(one)
      await freeze(one.process.pid)
    }
  }

  const thaw = () => {
    for (const one of frozen) process.kill(one.process.pid, 'SIGCONT')
    frozen.clear()
  }

  const readiness = async () => {
    const { status, text } = await client.send('GET', '/ready')
    return { status, body: JSON.parse(text) }
  }

  const readyAgain = () => expect.poll(async () => (await readiness()).body).toEqual(ALL_READY)

  for (const part of ['metadata', 'artifacts'] as const) {
    test(`one of two ${part} replicas: no read fails, every call is answered`, { timeout: RUN_TIMEOUT_MS }, async () => {
      const load = await startLoad(cluster.url, { retryReads: false })
      await eventually('the load runs', async () => load.calls() > 100 || undefined)
      await stop(cluster[part][0])
      const degraded = { ...ALL_READY, parts: { ...ALL_READY.parts, [part]: 'degraded' }, replicas: { [part]: { ready: 1, total: 2 } } }
      expect(await readiness()).toEqual({ status: 200, body: degraded })
      await sleep(FROZEN_MS)
      expect(await readiness()).toEqual({ status: 200, body: degraded })
      const before = load.calls()
      await eventually('the load goes on', async () => load.calls() > before + 100 || undefined)
      thaw()
      await readyAgain()
      const { failures, slowestMs } = await load.end()
      expect(failures).toEqual([])
      expect(slowestMs).toBeLessThan(ANSWER_MS_MAX)
    })
  }

  test('one of two artifacts replicas: downloads in the middle are whole', { timeout: RUN_TIMEOUT_MS }, async () => {
    const content = randomBytes(DOWNLOAD_BYTES)
    expect((await client.send('PUT', `${files}/long`, content)).status).toBe(200)
    // Of an age at which its ETag tells every other version apart.
    await sleep(3_000)
    const downloads = await Promise.all(Array.from({ length: 4 }, () => fetch(`${cluster.url}${files}/long`)))
    await stop(cluster.artifacts[0])
    for (const download of downloads) expect(content.equals(new Uint8Array(await download.arrayBuffer()))).toBe(true)
    thaw()
    await readyAgain()
  })

  test('all replicas of a part: calls are unavailable within seconds and readiness says so', { timeout: RUN_TIMEOUT_MS }, async () => {
    const parts = [...cluster.metadata, ...cluster.artifacts, cluster.gcWorker]
    await stop(...parts)
    const calls = [
      client.send('GET', `${api}/experiments/get?experiment_id=0`),
      client.send('POST', `${api}/experiments/create`, { name: 'frozen' }),
      client.send('GET', `${files}?path=`),
      client.send('GET', `${files}/any`),
      client.send('PUT', `${files}/any`, 'small'),
      client.send('PUT', `${files}/any`, Buffer.alloc(2_000_000)),
      client.send('GET', '/api/3.0/millrace/gc/jobs'),
      client.send('POST', '/api/3.0/millrace/gc/jobs', { run_ids: ['any'] }),
    ]
    const begun = performance.now()
    const answers = await Promise.all(calls)
    expect(performance.now() - begun).toBeLessThan(ANSWER_MS_MAX)
    const told = answers.map(({ status, text }) => [status, JSON.parse(text).error_code])
    expect(told).toEqual(calls.map(() => [503, 'TEMPORARILY_UNAVAILABLE']))
    expect(await readiness()).toEqual({
      status: 503,
      body: { status: 'unavailable', parts: { artifacts: 'unavailable', metadata: 'unavailable', jobs: 'unavailable' } },
    })
    thaw()
    await readyAgain()
    expect((await client.send('GET', `${api}/experiments/get?experiment_id=0`)).status).toBe(200)
  })
})
