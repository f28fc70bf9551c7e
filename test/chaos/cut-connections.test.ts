import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createDatabase, describeWith } from '../services/backends.ts'
import { httpClient } from '../services/http.ts'
import { startMillrace } from '../services/millrace.ts'
import { query } from '../services/postgres.ts'
import { tempFolder } from '../services/process.ts'

const CALLERS = 8
const CUTS = 20
const CUT_EVERY_MS = 50
const CUT = 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()'

describeWith(['postgres'], 'connections that PostgreSQL cuts', () => {
  test('fail the requests on them with 503 at most, keep what was acknowledged, and end no process', async () => {
    await using folder = await tempFolder('cut')
    await using database = await createDatabase('cut')
    await using server = await startMillrace({
      cwd: folder.path,
      backendStoreUri: database.url,
      artifactsDestination: join(folder.path, 'artifacts'),
    })
    using client = httpClient(server.url)
    const statuses = new Set<number>()
    const acknowledged: string[] = []
    let isOver = false
    const call = async (caller: number) => {
      for (let n = 0; !isOver; n++) {
        const made = await client.send('POST', '/api/2.0/mlflow/experiments/create', { name: `${caller} ${n}` })
        statuses.add(made.status)
        const { experiment_id } = made.json() as { experiment_id?: string }
        if (experiment_id === undefined) continue
        acknowledged.push(experiment_id)
        const run = await client.send('POST', '/api/2.0/mlflow/runs/create', { experiment_id })
        statuses.add(run.status)
      }
    }
    const calls = Array.from({ length: CALLERS }, (_, caller) => call(caller))
    let cut = 0
    for (let i = 0; i < CUTS; i++) {
      await sleep(CUT_EVERY_MS)
      cut += (await query(database.url, CUT)).length
    }
    isOver = true
    await Promise.all(calls)
    expect(cut).toBeGreaterThan(CUTS)
    expect([...statuses].filter(status => status !== 200 && status !== 503 && status !== 400)).toEqual([])
    expect(acknowledged.length).toBeGreaterThan(0)
    for (const id of acknowledged) await client.ok('GET', `/api/2.0/mlflow/experiments/get?experiment_id=${id}`)
  })
})
