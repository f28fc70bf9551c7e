import { randomBytes } from 'node:crypto'
import type { AzureServer } from '../../../test/services/azure.ts'
import type { AzureAccount } from '../src/drivers/azure/account.ts'
import { BlobClient } from '../src/drivers/azure/client.ts'
import { type AzureConfig, checkAzureConfig, readAzureConfig } from '../src/drivers/azure/config.ts'
import { Connection } from '../src/drivers/azure/connection.ts'

export const azureConfig = (env: Record<string, string>): AzureConfig => checkAzureConfig(readAzureConfig(env))

export interface TestContainer extends AsyncDisposable {
  readonly name: string
  readonly client: BlobClient
  /** `wasbs://` for the container. */
  readonly uri: string
  /** Names of everything below a prefix, also what users can't see: blobs of nothing but uncommitted blocks, snapshots. */
  everything(prefix: string): Promise<string[]>
}

/** A container of its own, seen with the account's key. */
export async function createContainer({ account, accountKey, endpoint }: AzureServer, ca?: string): Promise<TestContainer> {
  const name = `test-${randomBytes(6).toString('hex')}`
  const connection = new Connection(20_000, ca)
  const credential = { kind: 'key', key: Buffer.from(accountKey, 'base64') } as const
  const seen: AzureAccount = { name: account, endpoint, publicEndpoint: endpoint, credential }
  const client = new BlobClient(seen, connection)
  await client.headers({ method: 'PUT', path: name, query: { restype: 'container' } })
  return {
    name,
    client,
    uri: `wasbs://${name}@${account}.blob.core.windows.net`,
    async everything(prefix) {
      const query = { restype: 'container', comp: 'list', prefix, include: 'uncommittedblobs,snapshots' }
      const text = await client.text({ method: 'GET', path: name, query })
      return [...text.matchAll(/<Name>([^<]*)</g)].flatMap(([, found]) => found ?? [])
    },
    async [Symbol.asyncDispose]() {
      await client.headers({ method: 'DELETE', path: name, query: { restype: 'container' } })
      connection[Symbol.dispose]()
    },
  }
}
