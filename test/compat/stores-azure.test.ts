import { beforeAll, expect, test } from 'vitest'
import { createContainer, startAzurite } from '../services/azure.ts'
import { describeWithServer } from '../services/backends.ts'
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
  'azurite',
  () => startAzurite(),
  server => {
    const env = { AZURE_STORAGE_CONNECTION_STRING: server.connectionString }

    test.each(['wasbs', 'abfss'])('the Python client with %s behind the server', { timeout: SESSION_TIMEOUT_MS }, async scheme => {
      await using container = await createContainer(server)
      const destination = scheme === 'wasbs' ? container.uri : container.uri.replace('wasbs:', 'abfss:').replace('.blob.', '.dfs.')
      await storeSession(scheme, { destination: `${destination}/root`, env })
      expect(await container.everything('')).toEqual([])
    })

    test('the Python client sends parts to Azure and reads ranges from it', { timeout: SESSION_TIMEOUT_MS }, async () => {
      await using container = await createContainer(server)
      await using folder = await tempFolder('azure')
      const cwd = folder.path
      const backendStoreUri = `sqlite:///${cwd}/store.db`
      await using millrace = await startMillrace({ cwd, backendStoreUri, artifactsDestination: `${container.uri}/root`, env })
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
    })
  },
)
