import { beforeAll, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { createGcsBucket, startGcs } from '../services/gcs.ts'
import { mlflowVenv } from '../services/install.ts'
import { storeSession } from './store-session.ts'

const SESSION_TIMEOUT_MS = 240_000

beforeAll(async () => {
  await mlflowVenv()
})

await describeWithServer(
  'fake-gcs-server',
  () => startGcs(),
  server => {
    test('the Python client with Google Cloud Storage behind the server', { timeout: SESSION_TIMEOUT_MS }, async () => {
      const bucket = await createGcsBucket(server)
      await storeSession('gcs', { destination: `${bucket.uri}/root`, env: server.env })
    })
  },
)
