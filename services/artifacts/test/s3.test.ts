import { randomBytes } from 'node:crypto'
import {
  BucketAlreadyExists,
  BucketAlreadyOwnedByYou,
  CreateBucketCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3'
import type { Harness } from '../src/conformance/harness.ts'
import { testArtifactDriver } from '../src/conformance/suite.ts'
import type { Driver, Scheme } from '../src/driver.ts'
import { createS3Client } from '../src/drivers/s3/client.ts'
import type { S3Config } from '../src/drivers/s3/config.ts'
import { openS3Scheme } from '../src/drivers/s3/scheme.ts'
import { HeldBytes } from '../src/held-bytes.ts'
import { s3TestConfig } from './s3-server.ts'

/** One for all runs: SeaweedFS gives every bucket volumes of its own, of which it has few. */
const bucket = 'millrace-artifact-driver'

testArtifactDriver('s3', () => openHarness())
testArtifactDriver('s3 without room for bodies', () => openHarness(new HeldBytes(0)))

async function openHarness(held?: HeldBytes): Promise<Harness> {
  const config = s3TestConfig()
  const run = randomBytes(6).toString('hex')
  const client = await createS3Client(config)
  const schemes: Scheme[] = []
  const open = async (changes: Partial<S3Config>, root: string) => {
    const scheme = openS3Scheme({ ...config, ...changes }, held)
    schemes.push(scheme)
    return scheme.open(root)
  }
  const prefixes = new WeakMap<Driver, string>()
  let count = 0
  await client.send(new CreateBucketCommand({ Bucket: bucket })).catch(allowExisting)
  return {
    capabilities: { multipart: true, presign: true },
    partSizeBytesMin: 5 * 1024 * 1024,
    async openEmpty() {
      const prefix = `${run}/root ${count++}`
      const driver = await open({}, `s3://${bucket}/${prefix}`)
      prefixes.set(driver, prefix)
      return driver
    },
    // SeaweedFS takes a backslash for a slash.
    unfitKeys: ['back\\slash'],
    failing: [
      {
        name: 'a wrong secret',
        open: () => open({ credentials: { accessKeyId: 'millrace', secretAccessKey: 'wrong-secret' } }, `s3://${bucket}/x`),
        codes: ['UNAUTHENTICATED', 'PERMISSION_DENIED'],
      },
      {
        name: 'a missing bucket',
        open: () => open({}, `s3://${bucket}-missing/x`),
        codes: ['RESOURCE_DOES_NOT_EXIST'],
        // SeaweedFS makes a bucket that is written to.
        calls: ['read', 'stat', 'remove', 'list'],
      },
      {
        name: 'a closed port',
        open: () => open({ endpointUrl: 'http://127.0.0.1:1' }, `s3://${bucket}/x`),
        codes: ['TEMPORARILY_UNAVAILABLE'],
      },
    ],
    leftovers: driver => namesBelow(client, prefixes.get(driver) ?? ''),
    async [Symbol.asyncDispose]() {
      for (const key of await namesBelow(client, run)) await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }))
      client.destroy()
      for (const scheme of schemes) await scheme[Symbol.asyncDispose]()
    },
  }
}

function allowExisting(error: unknown): void {
  if (!(error instanceof BucketAlreadyExists || error instanceof BucketAlreadyOwnedByYou)) throw error
}

async function namesBelow(client: S3Client, prefix: string): Promise<string[]> {
  const objects = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }))
  const uploads = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }))
  return [...(objects.Contents ?? []), ...(uploads.Uploads ?? [])].flatMap(({ Key }) => Key ?? [])
}
