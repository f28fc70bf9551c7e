import { type Env, type Raw, read, refused } from '@millrace/kit/config'
import { checkProxies, type Proxies, type RawProxies, readProxies } from '../proxies.ts'
import { checkTimeoutSeconds, readCertificates } from '../settings.ts'
import { type AzureIdentityConfig, checkIdentityConfig, type RawIdentityConfig, readIdentityConfig } from './identity-config.ts'

interface AzureConnection {
  account: string
  /** Absent: `https://ACCOUNT.blob.core.windows.net` or what the location's URI says. */
  blobEndpoint?: string
  /** Base64. */
  accountKey?: string
  sasToken?: string
}

export interface AzureConfig {
  /** Its account and endpoint win over those of URIs, its key or SAS token over every other credential. */
  connection?: AzureConnection
  /** Base64; of whatever account a URI names. */
  accountKey?: string
  /** Without its question mark. */
  sasToken?: string
  /** For tokens, when none of the above is there. */
  identity: AzureIdentityConfig
  /** Where clients reach the account, for the URLs that they are handed; without a slash at its end. */
  publicEndpoint?: string
  /** Certificates in PEM that TLS connections trust. */
  caBundle?: string
  /** Longest silence of the store within a call, in milliseconds. */
  timeoutMs: number
  /** Through which the store is reached. */
  proxies?: Proxies
}

export interface RawAzureConfig {
  connectionString?: Raw
  accountKey?: Raw
  sasToken?: Raw
  publicEndpoint?: Raw
  caBundle?: Raw
  timeoutSeconds?: Raw
  identity: RawIdentityConfig
  proxies?: RawProxies
}

/** MLflow's for Azure. */
const TIMEOUT_SECONDS = 600
const CONNECTION_FORM =
  'AccountName=NAME with AccountKey=KEY or SharedAccessSignature=TOKEN, and DefaultEndpointsProtocol, EndpointSuffix or BlobEndpoint; ' +
  'without key and token the endpoint must be https'

export function readAzureConfig(env: Env): RawAzureConfig {
  const variable = (...names: string[]) => read(env, {}, undefined, ...names)
  return {
    connectionString: variable('AZURE_STORAGE_CONNECTION_STRING'),
    accountKey: variable('AZURE_STORAGE_ACCESS_KEY'),
    sasToken: variable('AZURE_STORAGE_SAS_TOKEN'),
    publicEndpoint: variable('MILLRACE_AZURE_PUBLIC_ENDPOINT'),
    caBundle: variable('REQUESTS_CA_BUNDLE'),
    timeoutSeconds: variable('MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT'),
    identity: readIdentityConfig(env),
    proxies: readProxies(env),
  }
}

export function checkAzureConfig(raw: RawAzureConfig): AzureConfig {
  const { connectionString, accountKey, sasToken, publicEndpoint, caBundle } = raw
  return {
    connection: connectionString && checkConnection(connectionString),
    accountKey: accountKey && checkKey(accountKey, accountKey.value),
    sasToken: sasToken?.value.replace(/^\?/, ''),
    identity: checkIdentityConfig(raw.identity),
    publicEndpoint: publicEndpoint && checkEndpoint(publicEndpoint, publicEndpoint.value),
    caBundle: caBundle && readCertificates(caBundle),
    timeoutMs: checkTimeoutSeconds(raw.timeoutSeconds, TIMEOUT_SECONDS) * 1000,
    proxies: checkProxies(raw.proxies),
  }
}

function checkConnection(raw: Raw): AzureConnection {
  const settings = new Map<string, string>()
  for (const setting of raw.value.split(';')) {
    const at = setting.indexOf('=')
    if (at > 0) settings.set(setting.slice(0, at).trim().toLowerCase(), setting.slice(at + 1).trim())
    else if (setting.trim() !== '') throw hidden(raw, CONNECTION_FORM)
  }
  const key = settings.get('accountkey')
  const sasToken = settings.get('sharedaccesssignature')?.replace(/^\?/, '')
  const endpoint = settings.get('blobendpoint')
  const account = settings.get('accountname') ?? accountOf(endpoint)
  if (!account) throw hidden(raw, CONNECTION_FORM)
  const blobEndpoint = endpoint ? checkEndpoint(raw, endpoint) : endpointOf(account, settings)
  // What goes along then is a bearer token.
  if (!key && !sasToken && (blobEndpoint ?? 'https:').startsWith('http:')) throw hidden(raw, CONNECTION_FORM)
  return {
    account,
    blobEndpoint,
    accountKey: key && checkKey(raw, key),
    sasToken,
  }
}

function endpointOf(account: string, settings: ReadonlyMap<string, string>): string | undefined {
  const suffix = settings.get('endpointsuffix')
  const protocol = settings.get('defaultendpointsprotocol')?.toLowerCase() === 'http' ? 'http' : 'https'
  if (!suffix && protocol === 'https') return undefined
  return `${protocol}://${account}.blob.${suffix ?? 'core.windows.net'}`
}

/** A connection string with a SAS token may name its account only in the endpoint's host. */
function accountOf(endpoint: string | undefined): string | undefined {
  return /^https?:\/\/([a-z0-9-]+)\.blob\./i.exec(endpoint ?? '')?.[1]
}

function checkEndpoint(raw: Raw, value: string): string {
  const url = URL.parse(value)
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.search || url.hash) {
    throw hidden(raw, 'an http:// or https:// URL without user, query and fragment')
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '')
}

function checkKey(raw: Raw, value: string): string {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(value)) throw hidden(raw, 'an account key in base64')
  return value
}

/** The value would show a key. */
const hidden = (raw: Raw, allowed: string) => refused({ ...raw, value: '…' }, allowed)
