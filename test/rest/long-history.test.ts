import { get } from 'node:http'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { httpClient } from '../services/http.ts'
import { collecting, residentBytes } from '../services/memory.ts'
import { startMillrace } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'

const POINTS = 500_000
const HISTORIES_AT_ONCE = 4
const TEST_TIMEOUT_MS = 600_000
const COLLECT_EVERY_MS = 300
/** As objects and JSON at once they would be 420. */
const GROWTH_MIB_MAX = 330

type Point = { key: string; value: number | string; timestamp: number; step: number }

test('histories of any length come whole, and the server never holds one as objects and JSON at once', {
  timeout: TEST_TIMEOUT_MS,
}, async () => {
  await using folder = await tempFolder('history')
  const file = join(folder.path, 'mlflow.db')
  await using server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${file}`,
    artifactsDestination: join(folder.path, 'artifacts'),
    env: collecting(COLLECT_EVERY_MS),
  })
  using client = httpClient(server.url)
  const { run } = await client.ok<{ run: { info: { run_id: string } } }>('POST', '/api/2.0/mlflow/runs/create', { experiment_id: '0' })
  const { run_id } = run.info
  {
    using database = new DatabaseSync(file)
    database.exec(`PRAGMA busy_timeout = 5000;
      INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n
      WHERE i < ${POINTS - 1}) SELECT 'loss', i / 8.0, 1600000000000 + i, i, i = 7, '${run_id}' FROM n`)
  }
  const history = `/api/2.0/mlflow/metrics/get-history?run_id=${run_id}&metric_key=loss`
  const read = async () => {
    const answer = await client.send('GET', history)
    const { metrics } = answer.json() as { metrics: Point[] }
    return [answer.status, metrics.length, metrics[7]?.value, metrics.every(({ step }, i) => step === i), metrics.at(-1)]
  }
  const last = { key: 'loss', value: (POINTS - 1) / 8, timestamp: 1_600_000_000_000 + POINTS - 1, step: POINTS - 1 }
  const whole = [200, POINTS, 'NaN', true, last]

  const before = await residentMib(server.process.pid)
  const answers = Array.from({ length: HISTORIES_AT_ONCE }, read)
  let peak = 0
  const watch = setInterval(async () => {
    peak = Math.max(peak, await residentMib(server.process.pid))
  }, 50)
  const found = await Promise.all(answers).finally(() => clearInterval(watch))
  for (const answer of found) expect(answer).toEqual(whole)
  expect(peak - before).toBeLessThan(GROWTH_MIB_MAX)

  // What clients that leave had asked for is given back: so many histories are more than may be held.
  for (let i = 0; i < 9; i++) await leaveEarly(`${server.url}${history}`)
  expect(await read()).toEqual(whole)

  const from = Buffer.from(`{"offset": ${POINTS - 2}}`).toString('base64')
  const rest = (await client.send('GET', `${history}&page_token=${from}`)).json()
  expect((rest as { metrics: Point[] }).metrics.map(({ step }) => step)).toEqual([POINTS - 2, POINTS - 1])
  expect((await client.send('GET', `${history}-unknown`)).json()).toEqual({})
  expect((await client.send('GET', `${history}&page_token=x`)).status).toBe(400)
})

const residentMib = async (pid: number) => (await residentBytes(pid)) / 1024 / 1024

/** Reads the first bytes and closes the connection. */
function leaveEarly(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = get(url, { agent: false }, response => {
      response.once('data', () => {
        response.destroy()
        resolve()
      })
      response.on('error', () => {})
    })
    call.on('error', reject)
  })
}
