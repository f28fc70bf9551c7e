import type { AzureConfig } from './config.ts'
import type { AzureUri } from './location.ts'

type AzureCredential =
  /** Base64. */
  | { kind: 'key'; key: string }
  /** @param query with its signature, without a question mark. */
  | { kind: 'sas'; query: string }
  | { kind: 'token' }

/** A storage account with what opens it. */
export interface AzureAccount {
  name: string
  /** Base URL of the Blob service without a slash at its end; a path-style one ends with the account's name. */
  endpoint: string
  /** The same as clients reach it. */
  publicEndpoint: string
  credential: AzureCredential
}

/** The account behind a location, by MLflow's precedence: connection string, account key, then tokens; a SAS token comes before tokens. */
export function accountOf(uri: AzureUri, config: AzureConfig): AzureAccount {
  const { connection } = config
  const endpoint = connection?.blobEndpoint ?? `https://${connection ? `${connection.account}.${afterAccount(uri)}` : uri.host}`
  return {
    name: connection?.account ?? uri.account,
    endpoint,
    publicEndpoint: config.publicEndpoint ?? endpoint,
    credential: credentialOf(config),
  }
}

function credentialOf(config: AzureConfig): AzureCredential {
  const { connection } = config
  const key = connection?.accountKey ?? (connection?.sasToken ? undefined : config.accountKey)
  if (key) return { kind: 'key', key }
  const query = connection?.sasToken ?? config.sasToken
  return query ? { kind: 'sas', query } : { kind: 'token' }
}

/** `blob.core.windows.net` of the location's host. */
const afterAccount = ({ host, account }: AzureUri) => host.slice(account.length + 1)
