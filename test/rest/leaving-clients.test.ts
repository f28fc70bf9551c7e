import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { createDatabase, describeWith } from '../services/backends.ts'
import { type Http2Client, http2Client } from '../services/http2.ts'
import { startMillrace } from '../services/millrace.ts'
import { query } from '../services/postgres.ts'
import { eventually, tempFolder } from '../services/process.ts'
import { startSplit } from '../services/split.ts'

const api = '/api/2.0/mlflow'
const TEST_TIMEOUT_MS = 240_000
/** More than threads can do before the reads that wait are given up. */
const SEARCHES = 120
const SLOW_RUNS = 12
/** A search compares those of all runs with a pattern for a second or so, at every place anew. */
const SLOW_VALUE = `${'a'.repeat(7_000)}b`
const SLOW_FILTER = Array.from({ length: 5 }, () => `tags.slow LIKE '%${'a'.repeat(3_500)}b'`).join(' AND ')
const POOL_SIZE = 4

const STARTS = {
  'in one process': startMillrace,
  'over the network': startSplit,
}

async function ok(client: Http2Client, path: string, body: object): Promise<unknown> {
  const { status, text } = await client.send('POST', api + path, body).answer
  if (status !== 200) throw new Error(`${path} answered ${status}: ${text}`)
  return JSON.parse(text)
}

async function newRun(client: Http2Client): Promise<string> {
  const { run } = (await ok(client, '/runs/create', { experiment_id: '0' })) as { run: { info: { run_id: string } } }
  return run.info.run_id
}

/** What was sent before has reached the service that answers this. */
async function rounds(client: Http2Client): Promise<void> {
  for (let i = 0; i < 4; i++) expect((await client.send('GET', `${api}/experiments/get?experiment_id=0`).answer).status).toBe(200)
}

async function openServer(start: (typeof STARTS)[keyof typeof STARTS], backendStoreUri?: string) {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('leaving'))
  const file = join(folder.path, 'mlflow.db')
  const server = stack.use(
    await start({
      cwd: folder.path,
      backendStoreUri: backendStoreUri ?? `sqlite:///${file}`,
      artifactsDestination: join(folder.path, 'artifacts'),
      env: { MLFLOW_SQLALCHEMYSTORE_POOL_SIZE: String(POOL_SIZE) },
    }),
  )
  const client = stack.use(http2Client(server.url))
  const opened = stack.move()
  return { client, file, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

for (const [where, start] of Object.entries(STARTS)) {
  describe(where, () => {
    test('a write that waits is dropped with its client, one that has begun is committed', { timeout: TEST_TIMEOUT_MS }, async () => {
      await using server = await openServer(start)
      const { client, file } = server
      const run_id = await newRun(client)
      const log = (key: string) => client.send('POST', `${api}/runs/log-parameter`, { run_id, key, value: 'v' })
      using locker = new DatabaseSync(file)
      locker.exec('PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE')
      const begun = log('begun')
      await rounds(client)
      const left = log('left')
      const stays = log('stays')
      await rounds(client)
      for (const call of [begun, left]) call.leave()
      await rounds(client)
      locker.exec('COMMIT')
      expect((await stays.answer).status).toBe(200)
      const found = await client.send('GET', `${api}/runs/get?run_id=${run_id}`).answer
      const { params } = JSON.parse(found.text).run.data as { params: { key: string }[] }
      expect(params.map(({ key }) => key).toSorted()).toEqual(['begun', 'stays'])
    })

    test('searches that wait for a thread are dropped with their clients', { timeout: TEST_TIMEOUT_MS }, async () => {
      await using server = await openServer(start)
      const { client } = server
      const run_id = await newRun(client)
      for (let i = 0; i < SLOW_RUNS; i++)
        await ok(client, '/runs/set-tag', { run_id: await newRun(client), key: 'slow', value: SLOW_VALUE })
      const searches = Array.from({ length: SEARCHES }, (_, i) =>
        client.send('POST', `${api}/runs/search`, {
          experiment_ids: ['0'],
          filter: `${SLOW_FILTER} AND attributes.run_name != '${i}'`,
        }),
      )
      await rounds(client)
      // Those who share a read have it as long as one of them stays.
      const filter = `attributes.run_id = '${run_id}'`
      const [leaves, stays] = [0, 1].map(() => client.send('POST', `${api}/runs/search`, { experiment_ids: ['0'], filter }))
      await rounds(client)
      for (const search of [...searches, leaves]) search?.leave()
      const answer = await stays?.answer
      expect([answer?.status, JSON.parse(answer?.text ?? '').runs?.length]).toEqual([200, 1])
    })

    describeWith(['postgres'], 'PostgreSQL', () => {
      test('statements that wait for a lock or a connection end with their clients', { timeout: TEST_TIMEOUT_MS }, async () => {
        await using database = await createDatabase('leaving')
        await using server = await openServer(start, database.url)
        const { client } = server
        await newRun(client)
        const locker = new pg.Client(database.url)
        await locker.connect()
        try {
          await locker.query('BEGIN; LOCK TABLE params IN ACCESS EXCLUSIVE MODE')
          const searches = Array.from({ length: 3 * POOL_SIZE }, (_, i) =>
            client.send('POST', `${api}/runs/search`, { experiment_ids: ['0'], filter: `params.p = '${i}'` }),
          )
          const waiting = async () => (await query(database.url, WAITING)).length
          await eventually('every connection waits', async () => (await waiting()) === POOL_SIZE || undefined)
          for (const search of searches) search.leave()
          await rounds(client)
          await eventually('nothing waits', async () => (await waiting()) === 0 || undefined)
        } finally {
          await locker.end()
        }
        const { status } = await client.send('POST', `${api}/runs/search`, { experiment_ids: ['0'], filter: "params.p = '0'" }).answer
        expect(status).toBe(200)
      })
    })
  })
}

const WAITING =
  "SELECT pid FROM pg_stat_activity WHERE application_name = 'millrace-metadata' AND wait_event_type = 'Lock' AND datname = current_database()"
