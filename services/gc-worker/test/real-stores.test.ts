import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { createClient, type Transport } from '@connectrpc/connect'
import { checkArtifacts, openArtifacts, readArtifacts } from '@millrace/artifacts/service'
import { createDirectTransport } from '@millrace/kit/rpc'
import { ArtifactStoreService } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { JobState } from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import { UploadState } from '@millrace/proto/millrace/jobs/v1/multipart_uploads_pb'
import { expect, test } from 'vitest'
import { readTestConfig } from '../../../test/services/config.ts'
import { collect, configFor, openWorker, sqliteDatabase, until } from './harness.ts'
import { World } from './world.ts'

const PART_BYTES = 5 * 1024 * 1024

test('artifacts of deleted runs go from a local folder, with the folder of their experiment', async () => {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'millrace-gc-artifacts-'))
  stack.defer(() => rm(folder, { recursive: true }))
  const world = new World()
  world.experiment('1', 'active')
  world.experiment('2')
  for (const [id, experimentId, stage] of [
    ['kept', '1', 'active'],
    ['gone', '1', 'deleted'],
    ['inside', '2', 'deleted'],
  ] as const) {
    world.run(id, experimentId, stage)
    const path = join(folder, experimentId, id, 'artifacts', 'deep', 'a file.txt')
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, 'x')
  }
  world.model('m-gone', '1')
  // Beside the run's artifacts is something of nobody's; the other run has none, and its experiment's folder isn't there either.
  world.run('elsewhere', '1')
  world.run('nothing', '3')
  for (const path of ['1/models/m-gone/artifacts/MLmodel', '1/elsewhere/artifacts/a.txt', '1/elsewhere/note.txt']) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), 'x')
  }
  const database = stack.use(await sqliteDatabase())
  const artifacts = stack.use(await openArtifacts(checkArtifacts(readArtifacts({}, { artifactsDestination: folder }))))
  const open = stack.use(await openWorker(world, configFor(database.target), {}, { artifacts: createDirectTransport(artifacts.routes) }))
  expect((await collect(open.gc)).job.state).toBe(JobState.SUCCEEDED)
  const left = (await readdir(folder, { recursive: true })).sort()
  expect(left.filter(path => path.startsWith('1/kept'))).toEqual([
    '1/kept',
    '1/kept/artifacts',
    '1/kept/artifacts/deep',
    '1/kept/artifacts/deep/a file.txt',
  ])
  expect(left.filter(path => !path.startsWith('1/kept'))).toEqual(['1', '1/elsewhere', '1/elsewhere/note.txt', '1/models'])
})

test('parts that a client sent to S3 are joined, a wrong ETag is refused and can be put right', async ({ skip }) => {
  const { s3 } = readTestConfig()
  if (!s3) return skip('no S3 server')
  await using stack = new AsyncDisposableStack()
  const bucket = `gc-${randomUUID()}`
  const env = {
    MLFLOW_S3_ENDPOINT_URL: s3.endpoint,
    AWS_ACCESS_KEY_ID: s3.accessKey,
    AWS_SECRET_ACCESS_KEY: s3.secretKey,
    AWS_REGION: 'us-east-1',
  }
  const credentials = { accessKeyId: s3.accessKey, secretAccessKey: s3.secretKey }
  const client = new S3Client({ endpoint: s3.endpoint, region: 'us-east-1', forcePathStyle: true, credentials })
  stack.defer(() => client.destroy())
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  const artifacts = stack.use(await openArtifacts(checkArtifacts(readArtifacts(env, { artifactsDestination: `s3://${bucket}/root` }))))
  const transport: Transport = createDirectTransport(artifacts.routes)
  const store = createClient(ArtifactStoreService, transport)
  const database = stack.use(await sqliteDatabase())
  const { uploads } = stack.use(await openWorker(new World(), configFor(database.target), {}, { artifacts: transport }))

  const uri = 'mlflow-artifacts:/1/r/artifacts/big.bin'
  const { uploadId, parts: targets } = await store.startMultipart({ uri, numParts: 2 })
  await uploads.recordUpload({ uri, uploadId, numParts: 2 })
  const parts: { partNumber: number; etag: string; url: string }[] = []
  for (const { partNumber, url } of targets) {
    // A busy SeaweedFS refuses parts while it makes room for a new bucket; clients send them again.
    await until('the part is taken', async () => {
      const answer = await fetch(url, { method: 'PUT', body: Buffer.alloc(PART_BYTES, partNumber) })
      if (answer.ok) parts.push({ partNumber, etag: answer.headers.get('etag') ?? '', url })
      return answer.ok
    })
  }
  const wrong = parts.map(part => ({ ...part, etag: '"00000000000000000000000000000000"' }))
  await expect(uploads.completeUpload({ uri, uploadId, parts: wrong, waitMs: 20_000 })).rejects.toThrow()
  expect(await uploads.completeUpload({ uri, uploadId, parts, waitMs: 20_000 })).toMatchObject({ state: UploadState.COMPLETED })
  expect(await store.stat({ uri })).toMatchObject({ exists: true, size: BigInt(2 * PART_BYTES) })
})
