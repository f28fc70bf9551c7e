import { setTimeout as sleep } from 'node:timers/promises'
import { invalidParameter, temporarilyUnavailable } from '@millrace/kit/errors'
import { UploadState } from '@millrace/proto/millrace/jobs/v1/multipart_uploads_pb'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Control } from '../src/store/control.ts'
import { UploadStore } from '../src/store/uploads.ts'
import { collect, configFor, databases, has, openWorker, type TestDatabase, until } from './harness.ts'
import { World } from './world.ts'

const uri = 'mlflow-artifacts:/1/r/artifacts/big.bin'
const upload = { uri, uploadId: 'u-1' }
const parts = [2, 1].map(partNumber => ({ partNumber, etag: `"e${partNumber}"`, url: '' }))

describe.each(['sqlite', 'postgresql'] as const)('multipart uploads, control database on %s', provider => {
  let database: TestDatabase
  let world: World
  beforeEach(async ({ skip }) => {
    skip(!has(provider), `no ${provider} server`)
    database = await databases[provider]()
    world = new World()
  })
  afterEach(() => database?.[Symbol.asyncDispose]())

  test('completing waits for the job, and repeating it is success without a second completion', async () => {
    await using open = await openWorker(world, configFor(database.target))
    await open.uploads.recordUpload({ ...upload, numParts: 2 })
    for (let i = 0; i < 2; i++) {
      expect(await open.uploads.completeUpload({ ...upload, parts, waitMs: 5_000 })).toMatchObject({ state: UploadState.COMPLETED })
    }
    expect(world.completed).toEqual([`${uri}#u-1`])
    await open.uploads.abortUpload(upload)
    expect(world.aborted).toEqual([])
  })

  test('what can be no upload is refused in the same words on every database, and nothing is recorded', async () => {
    await using open = await openWorker(world, configFor(database.target))
    const long = 'x'.repeat(1_000_000)
    const { uploads } = open
    const refusals: [Promise<unknown>, RegExp][] = [
      [uploads.recordUpload({ uri, uploadId: '', numParts: 1 }), /^upload_id must not be empty/],
      [uploads.recordUpload({ uri, uploadId: long, numParts: 1 }), /^upload_id must be at most 2048 bytes long$/],
      [uploads.recordUpload({ uri, uploadId: 'a\0b', numParts: 1 }), /^upload_id must be text without NUL$/],
      [uploads.recordUpload({ uri: long, uploadId: 'u', numParts: 1 }), /^uri must be at most/],
      [uploads.recordUpload({ ...upload, numParts: 10_001 }), /^num_parts must be from 0 to 10000/],
      [uploads.abortUpload({ uri, uploadId: long }), /^upload_id must be at most/],
      [uploads.abortUpload({ uri: `${uri}\0`, uploadId: 'u' }), /^uri must be text/],
      [uploads.completeUpload({ uri: long, uploadId: 'u', parts }), /^uri must be at most/],
      [uploads.completeUpload({ uri, uploadId: '', parts }), /^upload_id must not be empty/],
      [uploads.completeUpload({ ...upload, parts: [] }), /^parts must not be empty/],
      [uploads.completeUpload({ ...upload, parts: [...parts, ...parts] }), /^Part 2 is named twice/],
      [uploads.completeUpload({ ...upload, parts: [{ partNumber: 0, etag: 'e', url: '' }] }), /^part_number must be from 1 to 10000/],
      [uploads.completeUpload({ ...upload, parts: [{ partNumber: 1, etag: long, url: '' }] }), /^etag must be at most/],
      [uploads.completeUpload({ ...upload, parts: [{ partNumber: 1, etag: '\0', url: '' }] }), /^etag must be text/],
      [uploads.completeUpload({ ...upload, parts: [{ partNumber: 1, etag: 'e', url: long }] }), /^url must be at most/],
    ]
    for (const [refused, message] of refusals) {
      await expect(refused).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE', rawMessage: expect.stringMatching(message) })
    }
    await using control = new Control(database.target)
    expect(await control.use(async db => [await db.multipartUpload.count(), await db.job.count()])).toEqual([0, 0])
  })

  test('a job that an earlier version recorded for no upload fails once, and does not come back', async () => {
    const long = 'x'.repeat(1_000_000)
    {
      await using control = new Control(database.target)
      const records = new UploadStore(control)
      await records.startCompletion((await records.record(long, 'u', 1)).id, 'completion', [{ partNumber: 1, etag: 'e', url: '' }])
      await records.startAbort((await records.record(uri, '', 1)).id, 'abort')
      await records.record(uri, long, 1)
    }
    const config = configFor(database.target, { uploadExpiryMs: 1_000 })
    const jobs = async () => {
      await using control = new Control(database.target)
      return control.use(async db => [
        (await db.job.findMany({ orderBy: { createdTime: 'asc' } })).map(({ state, attempts }) => [state, attempts]),
        (await db.multipartUpload.findMany()).map(({ state, errorCode }) => [state, errorCode]),
      ])
    }
    const ended = [Array(3).fill(['FAILED', 1]), Array(3).fill(['ABORTED', 'INVALID_PARAMETER_VALUE'])]
    {
      await using _open = await openWorker(world, config)
      await until('all have ended', async () => JSON.stringify(await jobs()) === JSON.stringify(ended))
    }
    await using _again = await openWorker(world, config)
    await sleep(1_500)
    expect(await jobs()).toEqual(ended)
    expect([world.completed, world.aborted]).toEqual([[], []])
  })

  test('callers at the same moment share one completion', async () => {
    world.completeMs = 50
    await using open = await openWorker(world, configFor(database.target))
    await open.uploads.recordUpload({ ...upload, numParts: 2 })
    const answers = await Promise.all(Array.from({ length: 5 }, () => open.uploads.completeUpload({ ...upload, parts, waitMs: 5_000 })))
    expect(answers.map(answer => answer.state)).toEqual(Array(5).fill(UploadState.COMPLETED))
    expect(world.completed.length).toBe(1)
  })

  test('a slow completion answers COMPLETING and ends though the caller has gone', async () => {
    world.completeMs = 300
    await using open = await openWorker(world, configFor(database.target))
    expect(await open.uploads.completeUpload({ ...upload, parts, waitMs: 50 })).toMatchObject({ state: UploadState.COMPLETING })
    const second = { uri: `${uri}2`, uploadId: 'u-2' }
    const gone = open.uploads.completeUpload({ ...second, parts, waitMs: 5_000 }, { signal: AbortSignal.timeout(20) })
    await gone.catch(() => undefined)
    await until('both are joined', () => world.completed.length === 2)
    expect(await open.uploads.completeUpload({ ...second, parts, waitMs: 1_000 })).toMatchObject({ state: UploadState.COMPLETED })
  })

  test("the store's refusal reaches the caller, and new parts may then be sent", async () => {
    world.beforeComplete = () => {
      throw invalidParameter('the part 2 was never sent')
    }
    await using open = await openWorker(world, configFor(database.target))
    const complete = () => open.uploads.completeUpload({ ...upload, parts, waitMs: 5_000 })
    await expect(complete()).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE', rawMessage: 'the part 2 was never sent' })
    world.beforeComplete = () => undefined
    expect(await complete()).toMatchObject({ state: UploadState.COMPLETED })
  })

  test('a store that is away for a while only costs time', async () => {
    let failures = 2
    world.beforeComplete = () => {
      if (failures-- > 0) throw temporarilyUnavailable('away')
    }
    await using open = await openWorker(world, configFor(database.target))
    expect(await open.uploads.completeUpload({ ...upload, parts, waitMs: 9_000 })).toMatchObject({ state: UploadState.COMPLETED })
  })

  test('what is to be tried again waits for no sweep', async () => {
    let failures = 2
    world.beforeComplete = () => {
      if (failures-- > 0) throw temporarilyUnavailable('away')
    }
    await using open = await openWorker(world, configFor(database.target), { sweepMs: 3_600_000 })
    expect(await open.uploads.completeUpload({ ...upload, parts, waitMs: 9_000 })).toMatchObject({ state: UploadState.COMPLETED })
  })

  test('aborting is safe to repeat, works for uploads never recorded, and ends the upload', async () => {
    await using open = await openWorker(world, configFor(database.target))
    await open.uploads.abortUpload(upload)
    await open.uploads.abortUpload(upload)
    expect(world.aborted).toEqual([`${uri}#u-1`, `${uri}#u-1`])
    await expect(open.uploads.completeUpload({ ...upload, parts, waitMs: 100 })).rejects.toMatchObject({
      errorCode: 'RESOURCE_DOES_NOT_EXIST',
    })
  })

  test('an abort that the store takes long for is answered, and ended by the next worker', async () => {
    world.beforeAbort = () => {
      throw temporarilyUnavailable('away')
    }
    const config = configFor(database.target)
    const first = await openWorker(world, config)
    await first.uploads.recordUpload({ ...upload, numParts: 2 })
    const gone = first.uploads.abortUpload(upload, { signal: AbortSignal.timeout(300) })
    await gone.catch(() => undefined)
    await expect(first.uploads.completeUpload({ ...upload, parts, waitMs: 100 })).rejects.toMatchObject({
      errorCode: 'RESOURCE_DOES_NOT_EXIST',
    })
    await first[Symbol.asyncDispose]()
    world.beforeAbort = () => undefined
    await using _second = await openWorker(world, config)
    await until('the upload is aborted', () => world.aborted.length === 1)
  })

  test('an abandoned upload is aborted by a worker that had nothing else to do, a completed one is not', async () => {
    const config = configFor(database.target)
    {
      await using open = await openWorker(world, config)
      await open.uploads.recordUpload({ ...upload, numParts: 2 })
      await open.uploads.completeUpload({ uri: `${uri}2`, uploadId: 'u-2', parts, waitMs: 5_000 })
    }
    await sleep(1_100)
    await using open = await openWorker(world, { ...config, uploadExpiryMs: 1_000 })
    await until('the upload is aborted', () => world.aborted.length > 0)
    await sleep(500)
    expect(world.aborted).toEqual([`${uri}#u-1`])
    await expect(open.uploads.completeUpload({ ...upload, parts, waitMs: 100 })).rejects.toMatchObject({
      errorCode: 'RESOURCE_DOES_NOT_EXIST',
    })
  })

  test('a worker of other artifacts leaves uploads alone', async () => {
    const config = configFor(database.target, { uploadExpiryMs: 1_000 })
    world.beforeComplete = () => {
      throw temporarilyUnavailable('away')
    }
    {
      await using open = await openWorker(world, { ...config, uploadExpiryMs: 3_600_000 })
      await open.uploads.recordUpload({ ...upload, numParts: 2 })
      await open.uploads.completeUpload({ uri: `${uri}2`, uploadId: 'u-2', parts, waitMs: 20 })
    }
    world.beforeComplete = () => undefined
    await sleep(1_100)
    await using open = await openWorker(world, config, {}, { uploads: false })
    world.run('r')
    expect((await collect(open.gc)).done).toEqual(['r'])
    await sleep(500)
    expect([world.aborted, world.completed]).toEqual([[], []])
  })

  test('an abandoned upload that could not be aborted is tried again', async () => {
    let refusals = 2
    world.beforeAbort = () => {
      if (refusals-- > 0) throw invalidParameter('not now')
    }
    await using open = await openWorker(world, configFor(database.target, { uploadExpiryMs: 1_000 }))
    await open.uploads.recordUpload({ ...upload, numParts: 2 })
    await expect(open.uploads.abortUpload(upload)).rejects.toMatchObject({ rawMessage: 'not now' })
    await until('the upload is aborted', () => world.aborted.length === 1)
  })

  test('uploads that did not end are listed a page at a time, newest first', async () => {
    await using open = await openWorker(world, configFor(database.target))
    for (const n of [1, 2, 3, 4]) {
      await open.uploads.recordUpload({ uri: `${uri}${n}`, uploadId: `u-${n}`, numParts: n })
      await sleep(2)
    }
    await open.uploads.completeUpload({ uri: `${uri}2`, uploadId: 'u-2', parts, waitMs: 5_000 })
    await open.uploads.abortUpload({ uri: `${uri}3`, uploadId: 'u-3' })
    const first = await open.uploads.listMultipartUploads({ pageSize: 1 })
    expect(first.uploads).toMatchObject([{ uri: `${uri}4`, state: UploadState.OPEN, numParts: 4 }])
    const second = await open.uploads.listMultipartUploads({ pageSize: 5, pageToken: first.nextPageToken })
    expect(second.uploads.map(one => one.uri)).toEqual([`${uri}1`])
    expect(second.nextPageToken).toBeUndefined()
    await expect(open.uploads.listMultipartUploads({ pageToken: 'x' })).rejects.toMatchObject({ rawMessage: 'Invalid page_token' })
  })

  test('a completion that a stopped worker left is ended by the next one', async () => {
    world.beforeComplete = () => {
      throw temporarilyUnavailable('away')
    }
    const config = configFor(database.target)
    const first = await openWorker(world, config)
    await first.uploads.completeUpload({ ...upload, parts, waitMs: 20 })
    await first[Symbol.asyncDispose]()
    world.beforeComplete = () => undefined
    await using _second = await openWorker(world, config)
    await until('the parts are joined', () => world.completed.length === 1)
  })

  test.each([
    [{ uri: '', uploadId: 'x', parts: [] }, 'uri must not be empty'],
    [{ ...upload, parts: [...parts, ...parts] }, 'Part 2 is named twice'],
    [{ ...upload, parts: [{ partNumber: 0, etag: '' }] }, 'part_number must be from 1 to 10000, but is 0'],
  ])('%o is refused', async (request, message) => {
    await using open = await openWorker(world, configFor(database.target))
    await expect(open.uploads.completeUpload({ ...request, waitMs: 0 })).rejects.toMatchObject({ rawMessage: message })
  })
})
