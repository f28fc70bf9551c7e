import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { httpClient } from '../services/http.ts'
import { startMillrace } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'
import { lost, write } from './writers.ts'

/** On a connection of its own: one that was open before is answered a little longer. */
const connectAnew = (url: string) =>
  new Promise((resolve, reject) => {
    const sent = request(`${url}/health`, { agent: false }, response => resolve(response.resume()))
    sent.once('error', reject).end()
  })

const path = '/api/2.0/mlflow-artifacts/artifacts/drain/slow.bin'

test('SIGTERM finishes what was accepted, refuses what comes after, and exits 0', async () => {
  await using folder = await tempFolder('drain')
  const options = {
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
  }
  await using server = await startMillrace(options)
  using client = httpClient(server.url)
  const { experiment_id } = await client.ok<{ experiment_id: string }>('POST', '/api/2.0/mlflow/experiments/create', { name: 'drain' })
  const stop = new AbortController()
  const writers = Array.from({ length: 4 }, () => write(server.url, experiment_id, stop.signal))
  const slow = request(`${server.url}${path}`, { method: 'PUT', headers: { 'content-length': 3_000_000 } })
  const answered = new Promise<number>((resolve, reject) => {
    slow.once('response', response => resolve(response.resume().statusCode ?? 0))
    slow.once('error', reject)
  })
  slow.write(Buffer.alloc(1_000_000, 1))
  await sleep(300)

  const ended = server.process.end('SIGTERM')
  await sleep(300)
  await expect(connectAnew(server.url), 'no new connection is accepted').rejects.toThrow()
  slow.write(Buffer.alloc(1_000_000, 2))
  await sleep(200)
  slow.end(Buffer.alloc(1_000_000, 3))
  expect(await answered).toBe(200)
  stop.abort()
  const acknowledged = await Promise.all(writers)
  expect(await ended).toBe(0)

  await using again = await startMillrace(options)
  expect(await lost(again.url, acknowledged)).toEqual([])
  using reader = httpClient(again.url)
  expect((await reader.send('GET', path)).body.length).toBe(3_000_000)
})

test('SIGTERM and SIGINT of an idle server exit 0 at once', async () => {
  await using folder = await tempFolder('drain')
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const database = `sqlite:///${folder.path}/${signal}.db`
    await using server = await startMillrace({ cwd: folder.path, backendStoreUri: database, artifactsDestination: folder.path })
    const begun = performance.now()
    expect(await server.process.end(signal)).toBe(0)
    expect(performance.now() - begun).toBeLessThan(5_000)
  }
})

test('an error that nobody handled is logged, lets accepted requests end, and exits 1', async () => {
  await using folder = await tempFolder('drain')
  const fault = join(folder.path, 'fault.mjs')
  await writeFile(fault, "process.on('SIGUSR2', () => setTimeout(() => { throw new Error('nobody handles this') }))\n")
  const options = {
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
    env: { NODE_OPTIONS: `--import=${fault}` },
  }
  await using server = await startMillrace(options)
  const slow = request(`${server.url}${path}`, { method: 'PUT', headers: { 'content-length': 2 } })
  const answered = new Promise<number>((resolve, reject) => {
    slow.once('response', response => resolve(response.resume().statusCode ?? 0))
    slow.once('error', reject)
  })
  slow.write('a')
  await sleep(300)
  const ended = server.process.end('SIGUSR2')
  await sleep(300)
  await expect(connectAnew(server.url), 'no new connection is accepted').rejects.toThrow()
  slow.end('b')
  expect(await answered).toBe(200)
  expect(await ended).toBe(1)
  expect(server.process.log()).toMatch(/ERROR Stopping, as an error was not handled .*nobody handles this/)
})
