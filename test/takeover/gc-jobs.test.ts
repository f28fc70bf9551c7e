import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, describeWith } from '../services/backends.ts'
import { mlflowVenv } from '../services/install.ts'
import { millrace, startMillrace } from '../services/millrace.ts'
import { pythonEnv } from '../services/mlflow.ts'
import { query } from '../services/postgres.ts'
import { type Outcome, run, tempFolder } from '../services/process.ts'

const GC_TIMEOUT_MS = 240_000
const DAY_MS = 86_400_000

interface Site extends AsyncDisposable {
  readonly cwd: string
  readonly url: string
  sql(text: string): Promise<Record<string, unknown>[]>
}

/** A job of every status that MLflow has, of two days ago and of now; `old-2` holds a lock. */
async function fill({ sql }: Site): Promise<void> {
  for (const [age, time] of Object.entries({ old: Date.now() - 2 * DAY_MS, new: Date.now() })) {
    for (let status = 0; status <= 6; status++) {
      const workspace = status === 4 ? 'other' : 'default'
      await sql(`insert into jobs (id, creation_time, job_name, params, status, retry_count, last_update_time, workspace)
        values ('${age}-${status}', ${time}, 'j', '{}', ${status}, 0, ${time}, '${workspace}')`)
    }
  }
  await sql(`insert into job_locks (lock_key, job_id, acquired_at) values ('k', 'old-2', 1)`)
}

async function left({ sql }: Site): Promise<string[]> {
  const rows = [...(await sql('select id from jobs')), ...(await sql('select lock_key as id from job_locks'))]
  return rows.map(row => String(row.id)).toSorted()
}

const printed = ({ code, stdout }: Outcome) => ({ code, lines: stdout.split('\n').toSorted() })

function sameAsMlflow(makeSite: () => Promise<Site>): void {
  test('gc removes the jobs that mlflow gc removes, and says so', { timeout: GC_TIMEOUT_MS }, async () => {
    const bin = await mlflowVenv()
    await using theirs = await makeSite()
    await using ours = await makeSite()
    for (const site of [theirs, ours]) {
      const options = { cwd: site.cwd, backendStoreUri: site.url, artifactsDestination: join(site.cwd, 'artifacts') }
      await using _made = await startMillrace(options)
      await fill(site)
    }
    const before = await left(ours)
    const uri = theirs.url.replace(/^postgresql:/, 'postgresql+psycopg2:')
    for (const options of [[], ['--job-ids', 'old-2,old-1,absent,new-3,new-6'], ['--jobs', '--older-than', '1d'], ['--jobs']]) {
      const byMlflow = await run(join(bin, 'mlflow'), ['gc', '--backend-store-uri', uri, '--tracking-uri', uri, ...options], {
        cwd: theirs.cwd,
        env: pythonEnv,
      })
      const byMillrace = await millrace(['gc', '--backend-store-uri', ours.url, ...options], { cwd: ours.cwd })
      expect([options, printed(byMillrace), await left(ours)]).toEqual([options, printed(byMlflow), await left(theirs)])
    }
    expect([before.length, await left(ours)]).toEqual([15, ['new-0', 'new-1', 'new-6', 'old-0', 'old-1', 'old-6']])
  })

  test('a dry run names jobs and keeps them, through a server', async () => {
    await using site = await makeSite()
    const options = { cwd: site.cwd, backendStoreUri: site.url, artifactsDestination: join(site.cwd, 'artifacts') }
    await using server = await startMillrace(options)
    await fill(site)
    const gc = (...more: string[]) => millrace(['gc', '--tracking-uri', server.url, '--job-ids', 'old-5,old-0', ...more], { cwd: site.cwd })
    expect(await gc('--dry-run')).toMatchObject({ code: 0, stdout: 'Job with ID old-5 would be permanently deleted.\n' })
    expect(await left(site)).toContain('old-5')
    expect(await gc()).toMatchObject({ code: 0, stdout: 'Job with ID old-5 has been permanently deleted.\n' })
    expect(await left(site)).not.toContain('old-5')
  })
}

beforeAll(async () => {
  await mlflowVenv()
})

describe('jobs of MLflow on SQLite', () =>
  sameAsMlflow(async () => {
    const folder = await tempFolder('gc-jobs')
    const path = join(folder.path, 'mlflow.db')
    return {
      cwd: folder.path,
      url: `sqlite:///${path}`,
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
  }))

describeWith(['postgres'], 'jobs of MLflow on PostgreSQL', () =>
  sameAsMlflow(async () => {
    await using stack = new AsyncDisposableStack()
    const { path: cwd } = stack.use(await tempFolder('gc-jobs'))
    const { url } = stack.use(await createDatabase('gc_jobs'))
    const owned = stack.move()
    return { cwd, url, sql: text => query(url, text), [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }),
)
