import { beforeAll, expect, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { createGcsBucket, startGcs } from '../services/gcs.ts'
import { mlflowVenv } from '../services/install.ts'
import { startMillrace } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'
import { python } from './python.ts'
import { storeSession } from './store-session.ts'

const SESSION_TIMEOUT_MS = 480_000

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
      expect(await bucket.names('')).toEqual([])
    })

    test('the Python client sends parts to the store and reads ranges from it', { timeout: SESSION_TIMEOUT_MS }, async () => {
      const bucket = await createGcsBucket(server)
      await using folder = await tempFolder('gcs-parts')
      const cwd = folder.path
      const backendStoreUri = `sqlite:///${cwd}/store.db`
      await using millrace = await startMillrace({ cwd, backendStoreUri, artifactsDestination: `${bucket.uri}/root`, env: server.env })
      const sizes = {
        S3_ENDPOINT: server.endpoint,
        MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE: '5242880',
        MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE: '5242880',
        MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE: '5242880',
        MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE: '5242880',
      }
      const { up, down } = JSON.parse(await python('multipart_transfer.py', millrace.url, { cwd, env: sizes }))
      expect(up['PUT store']).toBe(4)
      expect(up['PUT server']).toBeUndefined()
      expect(down['GET store']).toBeGreaterThanOrEqual(4)
      expect((await bucket.names('')).filter(name => name.includes('.artifact.uploading.'))).toEqual([])
    })
  },
)
