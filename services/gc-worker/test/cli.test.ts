import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { invalidParameter } from '@millrace/kit/errors'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { configFor, openWorker, sqliteDatabase, type TestDatabase } from './harness.ts'
import { serveRoutes } from './processes.ts'
import { World } from './world.ts'

const MAIN = fileURLToPath(new URL('../../server/src/main.js', import.meta.url))

let database: TestDatabase
let world: World
let stack: AsyncDisposableStack
let url: string
let folder: string

beforeEach(async () => {
  world = new World()
  stack = new AsyncDisposableStack()
  folder = await mkdtemp(join(tmpdir(), 'millrace-gc-cli-'))
  stack.defer(() => rm(folder, { recursive: true }))
  database = stack.use(await sqliteDatabase())
  const { worker } = stack.use(await openWorker(world, configFor(database.target)))
  url = stack.use(await serveRoutes(worker.routes)).baseUrl
})
afterEach(() => stack.disposeAsync())

/** Runs `millrace gc` in an empty folder with no variables but these. */
function gc(args: string[], env: NodeJS.ProcessEnv = {}): Promise<{ code: number; out: string[]; err: string }> {
  return new Promise(resolve => {
    execFile(process.execPath, [MAIN, 'gc', ...args], { cwd: folder, env, timeout: 30_000 }, (error, stdout, stderr) => {
      const code = error ? Number(error.code) : 0
      resolve({ code, out: stdout.split('\n').filter(Boolean).sort(), err: stderr })
    })
  })
}

test('says what it deleted in the words of mlflow gc', async () => {
  world.experiment('2')
  world.run('r1', '2')
  world.model('m1', '2')
  expect(await gc(['--dry-run', '--tracking-uri', url])).toMatchObject({
    code: 0,
    out: ['Experiment with ID 2', 'Logged model with ID m1', 'Run with ID r1'].map(what => `${what} would be permanently deleted.`),
  })
  expect(await gc([], { MLFLOW_TRACKING_URI: url })).toEqual({
    code: 0,
    out: ['Experiment with ID 2', 'Logged model with ID m1', 'Run with ID r1'].map(what => `${what} has been permanently deleted.`),
    err: '',
  })
  expect(await gc(['--tracking-uri', `${url}/`])).toEqual({ code: 0, out: [], err: '' })
})

test('exits with 1 when something could not be deleted, and deletes the rest', async () => {
  world.experiment('1', 'active')
  world.run('bad')
  world.run('good')
  world.beforeDelete = uri => {
    if (uri.includes('/bad/')) throw invalidParameter('no such store')
  }
  const { code, out, err } = await gc(['--tracking-uri', url])
  expect(code).toBe(1)
  expect(out).toEqual(['Run with ID good has been permanently deleted.'])
  expect(err).toBe('Run with ID bad has not been deleted: no such store\nError: 1 of 2 could not be deleted\n')
})

test.each([
  [
    ['--older-than', 'xyz'],
    1,
    "Error: Could not parse any time information from 'xyz'. Examples of valid strings: '8h', '2d8h5m20s', '2m4s'",
  ],
  [['--run-ids', 'nope'], 1, 'Error: Run with id=nope not found'],
  [['--run-ids', 'young', '--older-than', '24h'], 1, 'Only runs older than 24h can be deleted.'],
  [['--run-ids', ''], 2, "Invalid value for '--run-ids': '' has an empty id."],
  [['--job-ids', 'a,,b'], 2, "Invalid value for '--job-ids': 'a,,b' has an empty id."],
  [['--workspace', 'team'], 2, "Invalid value for --workspace: 'team'. Allowed: 'default', as Millrace has no workspaces besides it."],
  [['--workspace', 'default', '--all-workspaces'], 2, 'Cannot use --workspace and --all-workspaces together.'],
  [['--nope'], 2, "No such option '--nope'."],
])('%j is refused with exit code %i', async (args, code, message) => {
  world.experiment('1', 'active')
  world.run('young', '1', 'deleted', BigInt(Date.now()))
  const result = await gc(['--tracking-uri', url, ...args])
  expect(result).toMatchObject({ code, out: [] })
  expect(result.err).toContain(message)
  expect(result.err).not.toMatch(/\n {4}at /)
  expect(world.runs.size).toBe(1)
})

test('the default workspace may be named, and no other by the environment', async () => {
  world.experiment('1', 'active')
  for (const options of [['--workspace', 'default'], ['--all-workspaces']]) {
    world.run('r')
    expect(await gc(['--tracking-uri', url, ...options])).toMatchObject({ code: 0, out: ['Run with ID r has been permanently deleted.'] })
  }
  world.run('r')
  const refused = { code: 2, out: [], err: expect.stringContaining("Invalid value for MLFLOW_WORKSPACE: 'team'.") }
  expect(await gc(['--tracking-uri', url], { MLFLOW_WORKSPACE: 'team' })).toMatchObject(refused)
  expect(world.runs.size).toBe(1)
  expect(await gc(['--tracking-uri', url, '--all-workspaces'], { MLFLOW_WORKSPACE: 'team' })).toMatchObject({ code: 0 })
})

test('jobs of MLflow’s own go when they are asked for', async () => {
  for (const id of ['a', 'b', 'c']) world.jobs.set(id, 1_000n)
  expect(await gc(['--tracking-uri', url])).toMatchObject({ code: 0, out: [] })
  expect(await gc(['--tracking-uri', url, '--job-ids', 'b,x'])).toMatchObject({
    code: 0,
    out: ['Job with ID b has been permanently deleted.'],
  })
  expect(await gc(['--tracking-uri', url, '--jobs', '--older-than', '1d'])).toMatchObject({
    code: 0,
    out: ['a', 'c'].map(id => `Job with ID ${id} has been permanently deleted.`),
  })
  expect(world.jobs.size).toBe(0)
})

test('without a server or a database it says so', async () => {
  const { code, err } = await gc([])
  expect({ code, err }).toEqual({
    code: 1,
    err: 'Error: Tracking URL is not set. Please set MLFLOW_TRACKING_URI environment variable or provide --tracking-uri cli option.\n',
  })
})

test('a server that is not there is named in an error', async () => {
  const { code, err } = await gc(['--tracking-uri', 'http://127.0.0.1:1'])
  expect(code).toBe(1)
  expect(err).toMatch(/^Error: .*reach/)
})
