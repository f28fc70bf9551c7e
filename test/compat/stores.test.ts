import { join } from 'node:path'
import { beforeAll, test } from 'vitest'
import { createBucket, describeWith } from '../services/backends.ts'
import { mlflowVenv } from '../services/install.ts'
import { tempFolder } from '../services/process.ts'
import { storeSession } from './store-session.ts'

const SESSION_TIMEOUT_MS = 480_000

beforeAll(async () => {
  await mlflowVenv()
})

test('the Python client with a local folder behind the server', { timeout: SESSION_TIMEOUT_MS }, async () => {
  await using folder = await tempFolder('store')
  await storeSession('local', { destination: join(folder.path, 'root') })
})

describeWith(['s3'], 'a store in the cloud', () => {
  test('the Python client with S3 behind the server', { timeout: SESSION_TIMEOUT_MS }, async () => {
    await using bucket = await createBucket('stores')
    await storeSession('s3', { destination: `${bucket.uri}/root`, env: bucket.env })
  })
})
