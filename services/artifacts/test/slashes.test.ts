import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { createClient } from '@connectrpc/connect'
import { artifactPlace } from '@millrace/kit/artifact-place'
import { createDirectTransport } from '@millrace/kit/rpc'
import { ArtifactStoreService, PresignMethod } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { expect, test } from 'vitest'
import { createContainer, startAzurite } from '../../../test/services/azure.ts'
import { describeWithServer } from '../../../test/services/backends.ts'
import { type MotoServer, startMoto } from '../../../test/services/moto.ts'
import { bodyOf, text } from '../src/conformance/bodies.ts'
import { folderPrefix, type GcsLocation, objectName, parseGsUri } from '../src/drivers/gcs/location.ts'
import { checkArtifacts, openArtifacts, readArtifacts } from '../src/service.ts'

interface Place {
  /** URI of an empty bucket. */
  uri: string
  env: Record<string, string>
  names(): Promise<string[]>
}

/** A root by its path, and what MLflow's keys below it begin with. */
const ROOTS = [
  ['//team/mlflow', '/team/mlflow/'],
  ['///x', '//x/'],
  ['/a//b', 'a//b/'],
  ['/a/b/', 'a/b/'],
  ['/a/b//', 'a/b//'],
  ['//', '/'],
  ['/', ''],
] as const

/** All that clients and gc do with one file, below one root. */
async function checkRoot({ uri, env, names }: Place, path: string, prefix: string): Promise<void> {
  await using artifacts = await openArtifacts(checkArtifacts(readArtifacts(env, { artifactsDestination: uri + path })))
  const store = createClient(ArtifactStoreService, createDirectTransport(artifacts.routes))
  const place = (key: string) => artifactPlace('mlflow-artifacts:/', key)
  const run = '0/r/artifacts'
  await artifacts.bytes.write(place(`${run}/model/w#1.txt`), bodyOf('w'))
  expect(await names()).toEqual([`${prefix}${run}/model/w#1.txt`])
  expect(await text((await artifacts.bytes.read(place(`${run}/model/w#1.txt`))).body)).toBe('w')
  expect((await store.list({ uri: place('0/r') })).files).toMatchObject([{ path: 'artifacts', isDir: true }])
  expect((await store.list({ uri: 'mlflow-artifacts:/' })).files).toMatchObject([{ path: '0', isDir: true }])
  expect((await store.list({ uri: place(`${run}/model`) })).files).toMatchObject([{ path: 'w#1.txt', isDir: false, fileSize: 1n }])
  expect(await store.stat({ uri: place(run) })).toMatchObject({ exists: true, isDir: true })
  const { url } = await store.presign({ uri: place(`${run}/model/w#1.txt`), method: PresignMethod.GET })
  expect(await (await fetch(url)).text()).toBe('w')
  const { uploadId, parts } = await store.startMultipart({ uri: place(`${run}/big`), numParts: 1 })
  const [part] = parts
  const sent = await fetch(part?.url ?? '', { method: 'PUT', body: 'parts', headers: part?.headers })
  const etag = sent.headers.get('etag') ?? ''
  await store.completeMultipart({ uri: place(`${run}/big`), uploadId, parts: [{ partNumber: 1, etag, url: part?.url }] })
  expect(await names()).toContain(`${prefix}${run}/big`)
  // As the location of a run that talks to the store by itself, which is how gc names it.
  const own = `${uri}${path}${path.endsWith('/') ? '' : '/'}${run}`
  expect((await store.list({ uri: own })).files.map(file => file.path)).toContain('model')
  await store.delete({ uri: own })
  expect(await names()).toEqual([])
}

async function motoBucket({ endpoint, accessKey, secretKey }: MotoServer, Bucket: string): Promise<Place> {
  const credentials = { accessKeyId: accessKey, secretAccessKey: secretKey }
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials })
  await client.send(new CreateBucketCommand({ Bucket }))
  const env = { MLFLOW_S3_ENDPOINT_URL: endpoint, AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey }
  const names = async () => (await client.send(new ListObjectsV2Command({ Bucket }))).Contents?.flatMap(({ Key }) => Key ?? []) ?? []
  return { uri: `s3://${Bucket}`, env, names }
}

await describeWithServer('moto', startMoto, server => {
  test.each(ROOTS)('s3://BUCKET%s has the keys that MLflow gives it', async (path, prefix) =>
    checkRoot(await motoBucket(server, `slashes-${ROOTS.findIndex(([one]) => one === path)}`), path, prefix),
  )
})

await describeWithServer('azurite', startAzurite, server => {
  test.each(ROOTS)('wasbs://CONTAINER%s has the names that MLflow gives it', async (path, prefix) => {
    await using container = await createContainer(server)
    const env = { AZURE_STORAGE_CONNECTION_STRING: server.connectionString }
    await checkRoot({ uri: container.uri, env, names: () => container.everything('') }, path, prefix)
  })
})

// fake-gcs-server takes names for paths of a file system.
test.each(ROOTS)('gs://BUCKET%s has the names that MLflow gives it', (path, prefix) => {
  const location = { ...parseGsUri(`gs://bucket${path}`) } as GcsLocation
  expect(objectName(location, 'k')).toBe(`${prefix}k`)
  expect(folderPrefix(location, '')).toBe(prefix)
})
