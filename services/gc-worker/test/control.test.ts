import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openControl } from '../../../prisma/control/open.ts'
import { hasWork } from '../../../prisma/control/peek.ts'
import { checkGcWorker, readGcWorker } from '../src/config.ts'
import { Control } from '../src/store/control.ts'
import { JobStore } from '../src/store/jobs.ts'
import { UploadStore } from '../src/store/uploads.ts'
import { databases, has, sqliteDatabase, type TestDatabase } from './harness.ts'

describe.each(['sqlite', 'postgresql'] as const)('the control database on %s', provider => {
  let database: TestDatabase
  beforeEach(async ({ skip }) => {
    skip(!has(provider), `no ${provider} server`)
    database = await databases[provider]()
  })
  afterEach(() => database?.[Symbol.asyncDispose]())

  test('is made by the first opening and kept by the next', async () => {
    expect(await hasWork(database.target, 0)).toBe(false)
    for (const id of ['a', 'b']) {
      await using control = new Control(database.target)
      await new JobStore(control).create(id, { kind: 'garbage-collection', state: 'PENDING' })
    }
    expect(await hasWork(database.target, 0)).toBe(true)
    await using control = new Control(database.target)
    expect(await new JobStore(control).due(10)).toEqual(['a', 'b'])
  })

  test('is refused when a newer version has changed it', async () => {
    {
      await using db = await openControl(database.target)
      const migrations = provider === 'sqlite' ? '"migrations"' : '"millrace"."migrations"'
      await db.use(client => client.$executeRawUnsafe(`INSERT INTO ${migrations} VALUES ('9999-later.sql', 1)`))
    }
    await expect(openControl(database.target)).rejects.toThrow(
      "9999-later.sql, which this version doesn't know: it knows migrations up to 0001",
    )
  })

  test('a lease keeps others off until it runs out, and its loser writes nothing', async () => {
    await using control = new Control(database.target)
    const jobs = new JobStore(control)
    await jobs.create('j', { kind: 'garbage-collection', state: 'PENDING' })
    const claims = await Promise.all(['x', 'y', 'z'].map(owner => jobs.claim('j', owner, 150)))
    expect(claims.filter(Boolean).length).toBe(1)
    const first = ['x', 'y', 'z'][claims.findIndex(Boolean)] ?? ''
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(await jobs.claim('j', 'late', 5_000)).toMatchObject({ attempts: 2 })
    expect(await jobs.renew('j', first, 5_000)).toBe(false)
    await jobs.release('j', first, { ended: 'FAILED' })
    expect((await jobs.get('j'))?.state).toBe('RUNNING')
    await jobs.release('j', 'late', { ended: 'SUCCEEDED' })
    expect((await jobs.get('j'))?.state).toBe('SUCCEEDED')
  })

  test('a job is due only for those who run its kind', async () => {
    await using control = new Control(database.target)
    await new JobStore(control).create('j', { kind: 'garbage-collection', state: 'PENDING' })
    const others = new JobStore(control, ['multipart-abort', 'multipart-completion'])
    expect(await others.due(10)).toEqual([])
    expect(await others.claim('j', 'x', 5_000)).toBeUndefined()
    expect(await new JobStore(control).claim('j', 'x', 5_000)).toMatchObject({ id: 'j' })
  })
})

test('processes that open a PostgreSQL control database at the same moment make it once', async ({ skip }) => {
  skip(!has('postgresql'), 'no PostgreSQL server')
  await using database = await databases.postgresql()
  const opened = await Promise.all(Array.from({ length: 4 }, () => openControl(database.target)))
  await Promise.all(opened.map(one => one[Symbol.asyncDispose]()))
})

describe('a SQLite control database', () => {
  const COUNT = `
    import { Control } from './src/store/control.ts'
    import { JobStore } from './src/store/jobs.ts'
    import { UploadStore } from './src/store/uploads.ts'
    const [path, name] = process.argv.slice(1)
    await using control = new Control({ provider: 'sqlite', path })
    const uploads = new UploadStore(control)
    for (let i = 0; i < 25; i++) {
      const { id } = await uploads.record(name, String(i), 1)
      await uploads.startCompletion(id, name + i, [{ partNumber: 1, etag: 'e', url: '' }])
    }
    const jobs = new JobStore(control)
    const claims = await Promise.all(Array.from({ length: 100 }, (_, i) => jobs.claim('shared' + i, name, 60_000)))
    process.stdout.write(String(claims.filter(Boolean).length))
  `
  const run = async (script: string, ...args: string[]) => {
    const cwd = new URL('..', import.meta.url)
    const options = { cwd, timeout: 60_000 }
    return (await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, ...args], options)).stdout
  }

  test('is written by several processes at once: nothing is lost, and a lease goes to one', async () => {
    await using database = await sqliteDatabase()
    const path = database.target.provider === 'sqlite' ? database.target.path : ''
    {
      await using control = new Control(database.target)
      const jobs = new JobStore(control)
      for (let i = 0; i < 100; i++) await jobs.create(`shared${i}`, { kind: 'multipart-abort', state: 'PENDING' })
    }
    const names = ['a', 'b', 'c']
    const claims = await Promise.all(names.map(name => run(COUNT, path, name)))
    expect(claims.reduce((sum, count) => sum + Number(count), 0)).toBe(100)
    await using control = new Control(database.target)
    const counted = await control.use(db =>
      db.multipartUpload.groupBy({ by: ['uri', 'state'], _count: { _all: true }, orderBy: { uri: 'asc' } }),
    )
    expect(counted).toEqual(names.map(uri => ({ uri, state: 'COMPLETING', _count: { _all: 25 } })))
    expect(await control.use(db => db.multipartUploadPart.count())).toBe(75)
  })

  test('that another process holds on to is refused by name, and used when it is free', async () => {
    await using database = await sqliteDatabase()
    const path = database.target.provider === 'sqlite' ? database.target.path : ''
    await using control = new Control(database.target)
    const jobs = new JobStore(control)
    const uploads = new UploadStore(control)
    const { id } = await uploads.record('u', '1', 1)
    const refused = { errorCode: 'TEMPORARILY_UNAVAILABLE', rawMessage: `The control database ${path} is in use by another process` }
    for (const file of [`${path}-turns`, path]) {
      const other = new Database(file)
      other.exec('BEGIN EXCLUSIVE')
      await expect(uploads.startCompletion(id, 'lost', [])).rejects.toMatchObject(refused)
      other.close()
    }
    expect(await uploads.startCompletion(id, 'kept', [])).toBe(true)
    await using second = new Control(database.target)
    expect(await new JobStore(second).due(10)).toEqual(['kept'])
    expect(await jobs.due(10)).toEqual(['kept'])
  })
})

test('a worker without jobs and without Redis loads neither Prisma nor BullMQ', async () => {
  await using database = await sqliteDatabase()
  const script = `
    import { openGcWorker } from './src/service.ts'
    const { registerHooks } = await import('node:module')
    const heavy = new Set()
    registerHooks({ resolve: (name, context, next) => { if (/prisma|bullmq|ioredis|better-sqlite3|^pg$/.test(name)) heavy.add(name); return next(name, context) } })
    const transport = {}
    const config = { control: ${JSON.stringify(database.target)}, redisPrefix: 'x', concurrency: 1, uploadExpiryMs: 1000 }
    await using worker = await openGcWorker(config, { metadata: transport, artifacts: transport }, { timings: { startDelayMs: 10 } })
    await worker.ready()
    await new Promise(resolve => setTimeout(resolve, 200))
    process.stdout.write(JSON.stringify([...heavy].filter(name => !name.endsWith('peek.ts'))))
  `
  const cwd = new URL('..', import.meta.url)
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { cwd, timeout: 20_000 })
  expect(JSON.parse(stdout)).toEqual([])
})

describe('the configuration', () => {
  const control = (env: Record<string, string>, flags: Record<string, string> = {}) => checkGcWorker(readGcWorker(env, flags)).control

  test.each([
    [{}, { provider: 'sqlite', path: 'millrace.db' }],
    [{ MLFLOW_BACKEND_STORE_URI: 'sqlite:///data/mlflow.db' }, { provider: 'sqlite', path: 'data/millrace.db' }],
    [{ MLFLOW_BACKEND_STORE_URI: 'sqlite:////var/lib/mlflow.db' }, { provider: 'sqlite', path: '/var/lib/millrace.db' }],
    [{ MLFLOW_BACKEND_STORE_URI: 'postgresql+psycopg2://u:p@h/d' }, { provider: 'postgresql', url: 'postgresql://u:p@h/d' }],
    [
      { MLFLOW_BACKEND_STORE_URI: 'mysql://h/d', MILLRACE_CONTROL_STORE_URI: 'sqlite:///c.db' },
      { provider: 'sqlite', path: 'c.db' },
    ],
  ])('%j puts the control database at %j', (env, expected) => expect(control(env)).toEqual(expected))

  test.each([
    [{ MLFLOW_BACKEND_STORE_URI: 'mysql://u:secret@h/d' }, {}, /--control-store-uri or MILLRACE_CONTROL_STORE_URI is required/],
    [{}, { controlStoreUri: 'mysql://u:secret@h/d' }, /--control-store-uri: 'mysql:\/\/u:\*\*\*@h\/d'\. Allowed: sqlite/],
    [{ MILLRACE_CONTROL_STORE_URI: 'sqlite:///:memory:' }, {}, /MILLRACE_CONTROL_STORE_URI/],
    [{ MILLRACE_REDIS_URL: 'localhost:6379' }, {}, /MILLRACE_REDIS_URL: 'localhost:6379'\. Allowed: redis:/],
    [{ MILLRACE_MULTIPART_UPLOAD_EXPIRY: '0s' }, {}, /MILLRACE_MULTIPART_UPLOAD_EXPIRY: '0s'\. Allowed: at least a second/],
    [{ MILLRACE_MULTIPART_UPLOAD_EXPIRY: 'soon' }, {}, /MILLRACE_MULTIPART_UPLOAD_EXPIRY: 'soon'/],
    [{ MILLRACE_JOB_CONCURRENCY: '0' }, {}, /MILLRACE_JOB_CONCURRENCY: '0'\. Allowed: a whole number from 1 to 100/],
  ])('%j %j is refused', (env, flags, message) => expect(() => control(env as never, flags as never)).toThrow(message))
})
