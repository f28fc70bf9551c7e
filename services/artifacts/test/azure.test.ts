import { randomBytes } from 'node:crypto'
import { createContainer, startAzurite } from '../../../test/services/azure.ts'
import { describeWithServer } from '../../../test/services/backends.ts'
import type { Harness } from '../src/conformance/harness.ts'
import { testArtifactDriver } from '../src/conformance/suite.ts'
import type { Driver, Scheme } from '../src/driver.ts'
import { openAzureScheme } from '../src/drivers/azure/scheme.ts'
import { azureConfig } from './azure-server.ts'

const TIMEOUT = { MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '20' }

await describeWithServer(
  'azurite',
  () => startAzurite(),
  server => {
    const { account, accountKey, endpoint, connectionString } = server

    testArtifactDriver('azure', async (): Promise<Harness> => {
      const container = await createContainer(server)
      const schemes: Scheme[] = []
      const open = async (connection: string, root: string) => {
        const scheme = openAzureScheme(azureConfig({ AZURE_STORAGE_CONNECTION_STRING: connection, ...TIMEOUT }))
        schemes.push(scheme)
        return scheme.open(root)
      }
      const prefixes = new WeakMap<Driver, string>()
      let count = 0
      return {
        capabilities: { multipart: true, presign: true },
        partSizeBytesMin: 1024 * 1024,
        async openEmpty() {
          const prefix = `root ${count++}`
          const driver = await open(connectionString, `${container.uri}/${prefix}`)
          prefixes.set(driver, prefix)
          return driver
        },
        // The Blob service takes a backslash for a slash.
        unfitKeys: ['back\\slash'],
        failing: [
          {
            name: 'a wrong key',
            open: () => open(connectionString.replace(accountKey, randomBytes(64).toString('base64')), `${container.uri}/x`),
            codes: ['UNAUTHENTICATED', 'PERMISSION_DENIED'],
          },
          {
            name: 'a missing container',
            open: () => open(connectionString, `${container.uri.replace('test-', 'none-')}/x`),
            codes: ['RESOURCE_DOES_NOT_EXIST'],
          },
          {
            name: 'a closed port',
            open: () => open(connectionString.replace(endpoint, `http://127.0.0.1:1/${account}`), `${container.uri}/x`),
            codes: ['TEMPORARILY_UNAVAILABLE'],
          },
          {
            name: 'an expired SAS token',
            open: () => {
              const token = 'sv=2021-12-02&se=2020-01-01T00%3A00%3A00Z&sr=c&sp=rwdl&sig=c2VjcmV0'
              return open(`AccountName=${account};SharedAccessSignature=${token};BlobEndpoint=${endpoint}`, `${container.uri}/x`)
            },
            codes: ['UNAUTHENTICATED', 'PERMISSION_DENIED'],
          },
        ],
        leftovers: driver => container.everything(prefixes.get(driver) ?? ''),
        async [Symbol.asyncDispose]() {
          await container[Symbol.asyncDispose]()
          for (const scheme of schemes) await scheme[Symbol.asyncDispose]()
        },
      }
    })
  },
)
