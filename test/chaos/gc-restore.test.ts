import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createDatabase, describeWith } from '../services/backends.ts'
import { readTestConfig } from '../services/config.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { query } from '../services/postgres.ts'
import { tempFolder } from '../services/process.ts'

const ROUNDS = readTestConfig().soak ? 100 : 15
const TEST_TIMEOUT_MS = readTestConfig().soak ? 3_600_000 : 600_000
/** Every fifth run has as many points as take the removal many steps. */
const POINTS = [27_000, 3_000, 3_000, 3_000, 3_000]
/** Not in step with POINTS. */
const KILLED_EVERY = 4
const FILES = 30
const PAIRS = 20
const RESTORE_AFTER_MS_MAX = 60
const KILL_AFTER_MS_MAX = 60
const JOB_ENDS_MS_MAX = 120_000
const BATCH = 1_000

interface Site extends AsyncDisposable {
  readonly cwd: string
  readonly uri: string
  sql(text: string): Promise<Record<string, unknown>[]>
}

class Races {
  readonly #site: Site
  #server: Millrace | undefined

  constructor(site: Site) {
    this.#site = site
  }

  async begin(): Promise<void> {
    const { cwd, uri } = this.#site
    this.#server = await startMillrace({
      cwd,
      backendStoreUri: uri,
      artifactsDestination: join(cwd, 'artifacts'),
      port: this.#server?.port,
    })
  }

  async kill(): Promise<void> {
    await this.#server?.process.end('SIGKILL')
  }

  async call<T>(method: string, path: string, body?: unknown): Promise<{ status: number; json: T }> {
    const init = { method, body: body && JSON.stringify(body), headers: { 'content-type': 'application/json' } }
    const answer = await fetch(`${this.#server?.url}/api/${path}`, init as RequestInit)
    return { status: answer.status, json: (await answer.json()) as T }
  }

  post<T>(path: string, body: unknown) {
    return this.call<T>('POST', path, body)
  }

  async make(experimentId: string, points: number): Promise<string> {
    const { json } = await this.post<{ run: { info: { run_id: string } } }>('2.0/mlflow/runs/create', { experiment_id: experimentId })
    const runId = json.run.info.run_id
    const pairs = Array.from({ length: PAIRS }, (_, i) => ({ key: `k${i}`, value: String(i) }))
    await this.post('2.0/mlflow/runs/log-batch', { run_id: runId, params: pairs, tags: pairs })
    for (let from = 0; from < points; from += BATCH) {
      const metrics = Array.from({ length: BATCH }, (_, i) => ({ key: 'm', value: i, timestamp: 1, step: from + i }))
      expect(await this.post('2.0/mlflow/runs/log-batch', { run_id: runId, metrics })).toMatchObject({ status: 200 })
    }
    for (let i = 0; i < FILES; i++) {
      const url = `${this.#server?.url}/api/2.0/mlflow-artifacts/artifacts/${experimentId}/${runId}/artifacts/f${i}.txt`
      expect((await fetch(url, { method: 'PUT', body: 'x' })).status).toBe(200)
    }
    await this.post('2.0/mlflow/runs/delete', { run_id: runId })
    return runId
  }

  /** The job that removes the run; undefined when it isn't deleted any more. */
  async collect(runId: string): Promise<string | undefined> {
    const { status, json } = await this.post<{ job: { job_id: string } }>('3.0/millrace/gc/jobs', { run_ids: [runId] })
    return status === 200 ? json.job.job_id : undefined
  }

  async ended(jobId: string): Promise<void> {
    const deadline = Date.now() + JOB_ENDS_MS_MAX
    for (;;) {
      const { json } = await this.call<{ job?: object }>('GET', `3.0/millrace/gc/jobs/${jobId}`)
      if ('ended_time' in (json.job ?? {})) return
      if (Date.now() > deadline) throw new Error(`job ${jobId} has not ended: ${JSON.stringify(json)}`)
      await sleep(50)
    }
  }

  /** The run's rows and files; `stage` is undefined for one that is gone. */
  async state(experimentId: string, runId: string) {
    const [row] = await this.#site.sql(`SELECT lifecycle_stage FROM runs WHERE run_uuid = '${runId}'`)
    const counts: number[] = []
    for (const table of ['metrics', 'params', 'tags']) {
      const [counted] = await this.#site.sql(`SELECT count(*) AS n FROM ${table} WHERE run_uuid = '${runId}' AND key <> 'mlflow.runName'`)
      counts.push(Number(counted?.n))
    }
    const folder = join(this.#site.cwd, 'artifacts', experimentId, runId)
    const files = existsSync(folder) ? (await readdir(join(folder, 'artifacts'))).length : undefined
    return { stage: row?.lifecycle_stage, counts, files }
  }
}

const whole = (points: number) => ({ stage: 'active', counts: [points, PAIRS, PAIRS], files: FILES })
const GONE = { stage: undefined, counts: [0, 0, 0], files: undefined }

function races(makeSite: () => Promise<Site>): void {
  test('a run that is restored while gc removes it is whole, or refused and gone', { timeout: TEST_TIMEOUT_MS }, async () => {
    await using site = await makeSite()
    const server = new Races(site)
    await using stack = new AsyncDisposableStack()
    stack.defer(() => server.kill())
    await server.begin()
    const { json } = await server.post<{ experiment_id: string }>('2.0/mlflow/experiments/create', { name: 'races' })
    const experimentId = json.experiment_id
    const jobs: string[] = []
    const restored: { runId: string; points: number }[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const points = POINTS[round % POINTS.length] ?? 0
      const runId = await server.make(experimentId, points)
      const collecting = server.collect(runId).catch(() => undefined)
      // Every second race begins when the job is there: until then a slow machine has restored most runs.
      if (round % 2 === 0) await collecting
      await sleep(Math.random() * RESTORE_AFTER_MS_MAX)
      const restoring = server.post('2.0/mlflow/runs/restore', { run_id: runId }).then(
        answer => answer.status,
        () => undefined,
      )
      if (round % KILLED_EVERY === KILLED_EVERY - 1) {
        await sleep(Math.random() * KILL_AFTER_MS_MAX)
        await server.kill()
        await server.begin()
        const jobId = await collecting
        if (jobId) jobs.push(jobId)
        // The lease of the killed process's job holds for a while; another job ends what that one began.
        const again = await server.collect(runId)
        if (again) await server.ended(again)
      } else {
        const jobId = await collecting
        if (jobId) await server.ended(jobId)
      }
      const status = await restoring
      const found = await server.state(experimentId, runId)
      expect([200, 400, 404, undefined]).toContain(status)
      const isWhole = status === undefined ? found.stage === 'active' : status === 200
      expect({ round, status, ...found }).toEqual({ round, status, ...(isWhole ? whole(points) : GONE) })
      if (isWhole) restored.push({ runId, points })
    }
    for (const id of jobs) await server.ended(id)
    for (const { runId, points } of restored) expect(await server.state(experimentId, runId)).toEqual(whole(points))
    console.log(`${site.uri.replace(/:.*/s, '')}: ${restored.length} of ${ROUNDS} restored`)
  })
}

describeWith([], 'gc and restore on SQLite', () =>
  races(async () => {
    const folder = await tempFolder('gc-restore')
    const path = join(folder.path, 'mlflow.db')
    return {
      cwd: folder.path,
      uri: `sqlite:///${path}`,
      async sql(text) {
        const database = new DatabaseSync(path)
        try {
          return database.prepare(text).all()
        } finally {
          database.close()
        }
      },
      [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
    }
  }),
)

describeWith(['postgres'], 'gc and restore on PostgreSQL', () =>
  races(async () => {
    await using stack = new AsyncDisposableStack()
    const { path: cwd } = stack.use(await tempFolder('gc-restore'))
    const { url } = stack.use(await createDatabase('gc_restore'))
    const owned = stack.move()
    return { cwd, uri: url, sql: text => query(url, text), [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }),
)
