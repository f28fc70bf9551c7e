import { beforeAll, describe, expect, test } from 'vitest'
import { formatAge, parseAge } from '../src/age.ts'
import { folderAround, isRemovable, ownFolder, relativeRoot } from '../src/jobs/locations.ts'
import { collect, configFor, openWorker, sqliteDatabase } from './harness.ts'
import { World } from './world.ts'

const DAY_MS = 86_400_000
const young = () => BigInt(Date.now() - 1_000)

describe('a selection', () => {
  const world = new World()
  beforeAll(() => {
    world.experiment('1', 'active')
    world.experiment('2', 'deleted', young())
    world.run('active', '1', 'active')
    world.run('young', '1', 'deleted', young())
    world.run('old', '1')
    world.model('m-active', '1', 'active')
    world.model('m-young', '1', 'deleted', young())
    for (const id of ['j-1', 'j-2', 'j-3']) world.jobs.set(id, 1_000n)
    world.jobs.set('j-young', young())
  })

  test.each([
    [{ runIds: ['nope'] }, 'Run with id=nope not found'],
    [
      { runIds: ['old', 'active'] },
      'Run active is not in `deleted` lifecycle stage. Only runs in `deleted` lifecycle stage can be deleted.',
    ],
    [
      { runIds: ['young'], olderThanMs: BigInt(DAY_MS) },
      'Run young is not older than the required age. Only runs older than 1d can be deleted.',
    ],
    [{ experimentIds: ['9'] }, 'No Experiment with id=9 exists'],
    [
      { experimentIds: ['1'] },
      "Experiments ['1'] are not in the deleted lifecycle stage. Only experiments in the deleted lifecycle stage can be hard-deleted.",
    ],
    [
      { experimentIds: ['2'], olderThanMs: BigInt(DAY_MS) },
      "Experiments ['2'] are not older than the required age. Only experiments older than 1d can be deleted.",
    ],
    [{ loggedModelIds: ['m-nope'] }, "Logged model with ID 'm-nope' not found."],
    [
      { loggedModelIds: ['m-active'] },
      'Logged model m-active is not in `deleted` lifecycle stage. Only logged models in `deleted` lifecycle stage can be deleted.',
    ],
    [
      { loggedModelIds: ['m-young'], olderThanMs: BigInt(DAY_MS) },
      'Logged model m-young is not older than the required age. Only logged models older than 1d can be deleted.',
    ],
  ])('%o is refused before anything is removed', async (request, message) => {
    await using database = await sqliteDatabase()
    await using open = await openWorker(world, configFor(database.target))
    await expect(open.gc.startGarbageCollection(request)).rejects.toThrow(message)
    expect(world.deletes).toEqual([])
    expect((await open.gc.listGarbageCollections({})).jobs).toEqual([])
  })

  test('takes only what is old enough, each thing once', async () => {
    await using database = await sqliteDatabase()
    await using open = await openWorker(world, configFor(database.target))
    const { items } = await collect(open.gc, { olderThanMs: BigInt(DAY_MS), dryRun: true })
    expect(items).toEqual([])
    const { jobs } = await open.gc.listGarbageCollections({})
    const { items: listed } = await open.gc.getGarbageCollection({ jobId: jobs[0]?.jobId })
    expect(listed.map(item => item.id)).toEqual(['old'])
  })

  test('naming runs leaves the other lists at everything deleted, as in mlflow gc', async () => {
    await using database = await sqliteDatabase()
    await using open = await openWorker(world, configFor(database.target))
    const { job } = await open.gc.startGarbageCollection({ runIds: ['old', 'old'], dryRun: true })
    const { items } = await open.gc.getGarbageCollection({ jobId: job?.jobId })
    expect(items.map(item => item.id)).toEqual(['old', 'm-young', '2'])
  })

  const OTHERS = ['young', 'old', 'm-young', '2']

  test.each([
    [{}, OTHERS],
    [{ jobs: true }, [...OTHERS, 'j-1', 'j-2', 'j-3', 'j-young']],
    [{ jobs: true, olderThanMs: BigInt(DAY_MS) }, ['old', 'j-1', 'j-2', 'j-3']],
    [{ jobIds: ['j-young', 'j-2', 'j-2', 'nope'] }, [...OTHERS, 'j-2', 'j-young']],
    [{ jobIds: ['j-young', 'j-2'], olderThanMs: BigInt(DAY_MS) }, ['old', 'j-2']],
    [{ jobIds: Array.from({ length: 1_200 }, (_, i) => `j-${i}`) }, [...OTHERS, 'j-1', 'j-2', 'j-3']],
  ])('%o takes jobs of MLflow’s only when asked for, after everything else', async (request, ids) => {
    await using database = await sqliteDatabase()
    await using open = await openWorker(world, configFor(database.target))
    const { job } = await open.gc.startGarbageCollection({ ...request, dryRun: true })
    const { items } = await open.gc.getGarbageCollection({ jobId: job?.jobId })
    expect(items.map(item => item.id)).toEqual(ids)
  })

  const LONG = 'x'.repeat(1_000_000)

  test.each([
    [{ runIds: Array(10_001).fill('r') }, 'run_ids must be at most 10000 ids, but are 10001'],
    [{ experimentIds: [LONG] }, 'An id of experiment_ids must be at most 250 bytes long'],
    [{ loggedModelIds: ['m\0'] }, 'An id of logged_model_ids must be text without NUL'],
    [{ jobIds: [''] }, 'An id of job_ids must not be empty'],
  ])('a list that can be none of ids is refused (%#)', async (request, rawMessage) => {
    await using database = await sqliteDatabase()
    await using open = await openWorker(world, configFor(database.target))
    await expect(open.gc.startGarbageCollection(request)).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE', rawMessage })
    expect((await open.gc.listGarbageCollections({})).jobs).toEqual([])
  })

  test.each([
    { pageToken: 'x' },
    { pageToken: LONG },
    { pageSize: 0 },
    { pageSize: 1_001 },
    { pageToken: Buffer.from('["1","2\'"]').toString('base64url') },
  ])('a page %o is refused', async request => {
    await using database = await sqliteDatabase()
    await using open = await openWorker(world, configFor(database.target))
    await expect(open.gc.listGarbageCollections(request)).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
  })
})

test.each([
  ['1d2h3m4s', 93_784_000],
  ['1.2d3h4m5s', 114_725_000 - 40_000 + 40_000],
  ['8h', 8 * 3_600_000],
  ['.5s', 500],
  ['', 0],
])('the age %s is %i ms', (text, ms) => {
  expect(parseAge(text)).toBe(ms)
  if (text !== '') expect(parseAge(formatAge(ms))).toBe(ms)
})

test.each(['xyz', '1', '1s2d', '1x', '..d', '1.2.3d', '-1d', '1d '])('the age %s is refused', text => {
  expect(() => parseAge(text)).toThrow(
    `Could not parse any time information from '${text}'. Examples of valid strings: '8h', '2d8h5m20s', '2m4s'`,
  )
})

test.each([
  '',
  '/',
  'mlflow-artifacts:/',
  's3://bucket',
  's3://bucket/',
  'file:///',
  '.',
  './',
  's3://bucket/a/../b',
  'mlflow-artifacts://host:5000',
  'https://host/team/api/2.0/mlflow-artifacts/artifacts',
  'mlflow-artifacts://host:5000/api/2.0/mlflow-artifacts/artifacts/',
  's3://bucket?a=/x',
  '/data/c#/../../x',
  '/data/c#/../..',
  '/data/%2e%2e',
  'file:///data/..%2f',
  '..',
  'a/../..',
])('artifacts at %o are never removed', uri => expect(isRemovable(uri)).toBe(false))

test.each([
  'mlflow-artifacts:/1/r/artifacts',
  's3://bucket/x',
  'http://host/api/2.0/mlflow-artifacts/artifacts/x',
  './mlruns/1/r/artifacts',
  '/data/1/r/artifacts',
  '/#c/1/r/artifacts',
  'file:///data/x',
  '/data/c#/../../store/1/r/artifacts',
  '../store/1/r/artifacts',
])('artifacts at %o may be removed', uri => expect(isRemovable(uri)).toBe(true))

test.each([
  ['./mlruns//1/r/artifacts', 'mlruns'],
  ['file:a%20b/r/artifacts', 'a b'],
  ['x/../../store/r/artifacts', '../store'],
  ['/data/r/artifacts', undefined],
  ['file:///data/r/artifacts', undefined],
  ['s3://bucket/r/artifacts', undefined],
])('the location %o is relative to the folder with %o', (uri, root) => expect(relativeRoot(uri)).toBe(root))

test('only a folder that the server named after the experiment is its own', () => {
  expect(ownFolder('mlflow-artifacts:/7', '7', undefined)).toBe('mlflow-artifacts:/7')
  expect(ownFolder('s3://bucket/root/7/', '7', 's3://bucket/root/')).toBe('s3://bucket/root/7')
  for (const [location, id] of [
    ['mlflow-artifacts:/team/7', '7'],
    ['mlflow-artifacts:/7', '8'],
    ['s3://bucket/other/7', '7'],
    ['mlflow-artifacts:/', ''],
  ] as const) {
    expect(ownFolder(location, id, 's3://bucket/root')).toBeUndefined()
  }
})

test('only the folder by the name of a run is its own', () => {
  expect(folderAround('s3://bucket/1/r/artifacts', 'r')).toBe('s3://bucket/1/r')
  expect(folderAround('file:///data/c#/r/artifacts/', 'r')).toBe('file:///data/c#/r')
  for (const [uri, id] of [
    ['/data/1/other/artifacts', 'r'],
    ['/data/1/xr/artifacts', 'r'],
    ['/data/r', 'r'],
    ['/data/1//artifacts', ''],
    ['s3://bucket/1/r/artifacts?x=y', 'r'],
  ] as const) {
    expect(folderAround(uri, id)).toBeUndefined()
  }
})
