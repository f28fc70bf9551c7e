import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import { mlflowVenv } from '../services/install.ts'
import { startTarget } from '../services/millrace.ts'
import { eventually, tempFolder } from '../services/process.ts'
import { python } from './python.ts'

/** After the first refusal. */
const BUSY_FOR_MS = 3_000

beforeAll(async () => {
  await mlflowVenv()
})

test.each([false, true])('the Python client waits for room and goes on; services apart: %s', async apart => {
  await using folder = await tempFolder('busy')
  await using stack = new AsyncDisposableStack()
  const cwd = folder.path
  const env = { MILLRACE_ARTIFACT_STREAMS_MAX: '1' }
  const store = ['--artifacts-destination', join(cwd, 'data')]
  const artifacts = apart ? stack.use(await startTarget('artifacts', { cwd, env, args: store })) : undefined
  const front = artifacts ? ['--artifacts-url', artifacts.url] : store
  const server = stack.use(await startTarget(apart ? 'gateway' : 'server', { cwd, env, args: ['--artifacts-only', ...front] }))

  const counted = async (name: string) => {
    const text = await (await fetch(`${(artifacts ?? server).url}/metrics`)).text()
    return Number(new RegExp(`^millrace_artifact_${name.replace(/[{}]/g, '\\$&')} (\\d+)`, 'm').exec(text)?.[1])
  }
  const holding = request(`${server.url}/api/2.0/mlflow-artifacts/artifacts/held`, { method: 'PUT', agent: false })
  const held = new Promise<number | undefined>((resolve, reject) => {
    holding.once('response', response => resolve(response.resume().statusCode)).once('error', reject)
  })
  held.catch(() => undefined)
  holding.write('begun')
  // An upload that stands still makes room for others.
  const going = setInterval(() => holding.write('.'), 1_000)
  stack.defer(() => clearInterval(going))
  await eventually('the upload is held', async () => ((await counted('streams{direction="upload"}')) === 1 ? true : undefined))

  const file = join(cwd, 'model.bin')
  await writeFile(file, randomBytes(3_000_000))
  const done = python('busy.py', server.url, { cwd, args: [file], env: { MLFLOW_HTTP_REQUEST_MAX_RETRIES: '10' } })
  await eventually('the client was refused', async () => ((await counted('streams_refused_total{limit="streams"}')) > 0 ? true : undefined))
  await sleep(BUSY_FOR_MS)
  clearInterval(going)
  holding.end()
  expect(await held).toBe(200)
  expect(await done).toBe('done')
  expect(await counted('streams{direction="upload"}')).toBe(0)
})
