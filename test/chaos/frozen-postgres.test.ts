import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { httpClient } from '../services/http.ts'
import { startMillrace } from '../services/millrace.ts'
import { query, startPostgres } from '../services/postgres.ts'
import { eventually, freeze, tempFolder } from '../services/process.ts'

const api = '/api/2.0/mlflow'
/** A statement's 33 s and the wait for one before it; MLflow's clients give up after 120 s. */
const ANSWER_MS_MAX = 80_000

/** Stops all processes of a PostgreSQL; disposing lets them go on. */
async function freezeAll(url: string): Promise<Disposable> {
  const [row] = await query(`${url}/postgres`, 'SHOW data_directory')
  const file = await readFile(join(String(row?.data_directory), 'postmaster.pid'), 'utf8')
  const pid = Number(file.split('\n')[0])
  const frozen = [pid]
  const thaw = () => {
    for (const one of frozen) process.kill(one, 'SIGCONT')
  }
  try {
    await freeze(pid)
    const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(/\s+/).map(Number)
    for (const child of children) {
      await freeze(child)
      frozen.push(child)
    }
  } catch (reason) {
    thaw()
    throw reason
  }
  return { [Symbol.dispose]: thaw }
}

await describeWithServer('a PostgreSQL that stands still', startPostgres, postgres => {
  test('requests end with 503 before clients give up, readiness tells, and all is well when it goes on', async () => {
    await using folder = await tempFolder('frozen')
    await using server = await startMillrace({
      cwd: folder.path,
      backendStoreUri: `${postgres.url}/postgres`,
      artifactsDestination: join(folder.path, 'artifacts'),
    })
    using client = httpClient(server.url)
    const { experiment_id } = await client.ok<{ experiment_id: string }>('POST', `${api}/experiments/create`, { name: 'frozen' })
    const made = await client.ok<{ run: { info: { run_id: string } } }>('POST', `${api}/runs/create`, { experiment_id })
    const { run_id } = made.run.info
    const requests = [
      () => client.send('GET', `${api}/runs/get?run_id=${run_id}`),
      () => client.send('POST', `${api}/runs/log-parameter`, { run_id, key: `p${Math.random()}`, value: 'v' }),
      () => client.send('POST', `${api}/runs/search`, { experiment_ids: [experiment_id] }),
      () => client.send('POST', `${api}/experiments/create`, { name: `e${Math.random()}` }),
      () => client.send('GET', `${api}/experiments/get?experiment_id=${experiment_id}`),
    ]
    for (const request of requests) expect((await request()).status).toBe(200)

    {
      using _frozen = await freezeAll(postgres.url)
      const start = performance.now()
      const answers = [...requests, ...requests].map(async request => {
        const answer = await request()
        return [answer.status, (answer.json() as { error_code: string }).error_code, performance.now() - start < ANSWER_MS_MAX]
      })
      const ready = await client.send('GET', '/ready')
      expect([ready.status, performance.now() - start < 10_000]).toEqual([503, true])
      for (const answer of await Promise.all(answers)) expect(answer).toEqual([503, 'TEMPORARILY_UNAVAILABLE', true])
    }
    await eventually('ready again', async () => (await client.send('GET', '/ready')).status === 200 || undefined)
    for (const request of requests) expect((await request()).status).toBe(200)
    const busy = "SELECT query FROM pg_stat_activity WHERE application_name = 'millrace-metadata' AND state <> 'idle'"
    await eventually('no statement goes on', async () => (await query(`${postgres.url}/postgres`, busy)).length === 0 || undefined)
  })
})
