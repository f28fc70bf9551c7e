import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type Database, describeWith } from '../services/backends.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { query } from '../services/postgres.ts'
import { tempFolder } from '../services/process.ts'

const LONG = 'x'.repeat(1_000_000)
const PART = { part_number: 1, etag: 'e', url: '' }

function onEach(makeSite: (stack: AsyncDisposableStack, cwd: string) => Promise<{ uri: string; rows?: () => Promise<unknown> }>): void {
  const stack = new AsyncDisposableStack()
  let server: Millrace
  let rows: (() => Promise<unknown>) | undefined
  beforeAll(async () => {
    const { path: cwd } = stack.use(await tempFolder('job-input'))
    const site = await makeSite(stack, cwd)
    rows = site.rows
    server = stack.use(await startMillrace({ cwd, backendStoreUri: site.uri, artifactsDestination: join(cwd, 'artifacts') }))
  })
  afterAll(() => stack.disposeAsync())

  test.each([
    ['abort', 'x', { path: LONG, upload_id: 'u' }, 'path must be at most 4096 bytes long'],
    ['abort', 'x', { path: 'a.bin', upload_id: LONG }, 'upload_id must be at most 2048 bytes long'],
    ['abort', 'x', { path: 'a.bin', upload_id: '' }, 'upload_id must not be empty'],
    ['abort', 'x', { path: 'a.bin' }, 'upload_id must not be empty'],
    ['abort', 'x', { path: 'a.bin', upload_id: 'a\0b' }, 'upload_id must be text without NUL'],
    ['create', 'x', { path: LONG, num_parts: 2 }, 'path must be at most 4096 bytes long'],
    ['complete', 'x', { path: LONG, upload_id: 'u', parts: [PART] }, 'path must be at most 4096 bytes long'],
    ['complete', 'x', { path: 'a.bin', upload_id: '', parts: [PART] }, 'upload_id must not be empty'],
    ['complete', 'x', { path: 'a.bin', upload_id: 'u', parts: [] }, 'parts must not be empty'],
    ['complete', 'x', { path: 'a.bin', upload_id: 'u', parts: [PART, PART] }, 'Part 1 is named twice'],
    ['complete', 'x', { path: 'a.bin', upload_id: 'u', parts: [{ ...PART, etag: LONG }] }, 'etag must be at most 1024 bytes long'],
    ['complete', 'x', { path: 'a.bin', upload_id: 'u', parts: [{ ...PART, url: 'a\0' }] }, 'url must be text without NUL'],
  ])('an upload that can be none is refused and no job made of it (%#, %s)', async (step, folder, body, message) => {
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    const answer = await fetch(`${server.url}/api/2.0/mlflow-artifacts/mpu/${step}/${folder}`, init)
    expect({ status: answer.status, ...((await answer.json()) as object) }).toMatchObject({ status: 400, message })
    if (rows) expect(await rows()).toEqual([])
  })

  test.each(['%00', 'a%00b', '%ED%A0%80', 'none', 'x'.repeat(5_000)])('a job by a name that no job has is 404 (%#)', async name => {
    expect((await fetch(`${server.url}/api/3.0/millrace/gc/jobs/${name}`)).status).toBe(404)
  })
}

describeWith([], 'what is recorded as a job, on SQLite', () => onEach(async (_, cwd) => ({ uri: `sqlite:///${join(cwd, 'mlflow.db')}` })))

describeWith(['postgres'], 'what is recorded as a job, on PostgreSQL', () =>
  onEach(async stack => {
    const { url }: Database = stack.use(await createDatabase('job_input'))
    const rows = async () => {
      const [made] = await query(url, "SELECT to_regclass('millrace.multipart_uploads') AS there")
      return made?.there ? query(url, 'SELECT id FROM millrace.multipart_uploads') : []
    }
    return { uri: url, rows }
  }),
)
