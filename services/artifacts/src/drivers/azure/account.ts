import { createHmac } from 'node:crypto'
import type { AzureConfig } from './config.ts'
import type { AzureUri } from './location.ts'
import type { TokenSource } from './tokens/token.ts'

export type AzureCredential =
  | { kind: 'key'; key: Buffer }
  /** @param query with its signature, without a question mark. */
  | { kind: 'sas'; query: string }
  | { kind: 'token'; source: TokenSource }

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
export function accountOf(uri: AzureUri, config: AzureConfig, tokens: () => TokenSource): AzureAccount {
  const { connection } = config
  const endpoint = connection?.blobEndpoint ?? `https://${connection ? `${connection.account}.${afterAccount(uri)}` : uri.host}`
  return {
    name: connection?.account ?? uri.account,
    endpoint,
    publicEndpoint: config.publicEndpoint ?? endpoint,
    credential: credentialOf(config, tokens),
  }
}

function credentialOf(config: AzureConfig, tokens: () => TokenSource): AzureCredential {
  const { connection } = config
  const accountKey = connection?.accountKey ?? (connection?.sasToken ? undefined : config.accountKey)
  if (accountKey) return { kind: 'key', key: Buffer.from(accountKey, 'base64') }
  const query = connection?.sasToken ?? config.sasToken
  return query ? { kind: 'sas', query } : { kind: 'token', source: tokens() }
}

/** `blob.core.windows.net` of the location's host. */
const afterAccount = ({ host, account }: AzureUri) => host.slice(account.length + 1)

/** HMAC-SHA256 in base64, the only signature that the Blob service knows. */
export function hmac(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text, 'utf8').digest('base64')
}
