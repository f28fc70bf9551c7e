import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { createDatabase, describeWith } from '../services/backends.ts'
import { httpClient } from '../services/http.ts'
import { startMillrace } from '../services/millrace.ts'
import { freePort, tempFolder } from '../services/process.ts'
import { type Acknowledged, lost, write } from './writers.ts'

const KILLS = 20
const WRITERS = 8
const BURST_MS_MIN = 100
const BURST_MS_MAX = 500
const KILLS_TIMEOUT_MS = 240_000

async function killAndLook(makeUri: (cwd: string) => Promise<AsyncDisposable & { url: string }>): Promise<void> {
  await using folder = await tempFolder('kill')
  await using database = await makeUri(folder.path)
  const port = await freePort()
  const options = { cwd: folder.path, backendStoreUri: database.url, artifactsDestination: join(folder.path, 'artifacts'), port }
  const all: (Acknowledged | undefined)[] = []
  let server = await startMillrace(options)
  try {
    const { experiment_id } = await createExperiment(server.url)
    for (let kill = 0; kill < KILLS; kill++) {
      const stop = new AbortController()
      const writers = Array.from({ length: WRITERS }, () => write(server.url, experiment_id, stop.signal))
      await sleep(BURST_MS_MIN + ((BURST_MS_MAX - BURST_MS_MIN) * kill) / KILLS)
      expect(await server.process.end('SIGKILL')).toBe('SIGKILL')
      const acknowledged = await Promise.all(writers)
      server = await startMillrace(options)
      expect(await lost(server.url, acknowledged), `after kill ${kill + 1}`).toEqual([])
      all.push(...acknowledged)
    }
    expect(await lost(server.url, all), 'after all kills').toEqual([])
    const writes = all.reduce((sum, done) => sum + (done ? done.steps.length + done.batches.length : 0), 0)
    expect(writes, 'the load was real').toBeGreaterThan(KILLS * WRITERS)
  } finally {
    await server[Symbol.asyncDispose]()
  }
}

async function createExperiment(url: string): Promise<{ experiment_id: string }> {
  using client = httpClient(url)
  return await client.ok('POST', '/api/2.0/mlflow/experiments/create', { name: 'chaos' })
}

describe('SQLite', () => {
  test('every acknowledged write survives kill -9 in the middle of logging, 20 times', { timeout: KILLS_TIMEOUT_MS }, () =>
    killAndLook(async cwd => ({ url: `sqlite:///${cwd}/mlflow.db`, async [Symbol.asyncDispose]() {} })),
  )
})

describeWith(['postgres'], 'PostgreSQL', () => {
  test('every acknowledged write survives kill -9 in the middle of logging, 20 times', { timeout: KILLS_TIMEOUT_MS }, () =>
    killAndLook(() => createDatabase('kill')),
  )
})
