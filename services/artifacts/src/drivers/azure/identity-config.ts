import { readFileSync } from 'node:fs'
import { checkOneOf, type Env, type Raw, read, refused } from '@millrace/kit/config'

const SERVER_KINDS = ['EnvironmentCredential', 'WorkloadIdentityCredential', 'ManagedIdentityCredential'] as const
const DEVELOPER_KINDS = ['AzureCliCredential'] as const
const KINDS = [...SERVER_KINDS, ...DEVELOPER_KINDS] as const

/** The names of Azure's SDKs. */
export type AzureCredentialKind = (typeof KINDS)[number]

/** What DefaultAzureCredential of Azure's SDKs reads from the environment, by the same variables. */
export interface AzureIdentityConfig {
  authorityHost: string
  /** Which of the kinds of credentials are asked, in this order. */
  credentials: readonly AzureCredentialKind[]
  tenantId?: string
  /** Of a service principal, a workload identity or a user-assigned managed identity. */
  clientId?: string
  clientSecret?: string
  /** Certificate and private key of a service principal, both PEM. */
  certificate?: string
  /** File with the token that Kubernetes renews. */
  federatedTokenFile?: string
  /** App Service, Container Apps, Functions. */
  managedIdentity?: { endpoint: string; header: string }
  /** Of the instance metadata service; absent: where every machine in Azure has it. */
  imdsHost?: string
}

export interface RawIdentityConfig {
  authorityHost?: Raw
  credentials?: Raw
  tenantId?: Raw
  clientId?: Raw
  clientSecret?: Raw
  certificatePath?: Raw
  federatedTokenFile?: Raw
  identityEndpoint?: Raw
  identityHeader?: Raw
  imdsHost?: Raw
}

const AUTHORITY_HOST = 'https://login.microsoftonline.com'

export function readIdentityConfig(env: Env): RawIdentityConfig {
  const variable = (name: string) => read(env, {}, undefined, name)
  return {
    authorityHost: variable('AZURE_AUTHORITY_HOST'),
    credentials: variable('AZURE_TOKEN_CREDENTIALS'),
    tenantId: variable('AZURE_TENANT_ID'),
    clientId: variable('AZURE_CLIENT_ID'),
    clientSecret: variable('AZURE_CLIENT_SECRET'),
    certificatePath: variable('AZURE_CLIENT_CERTIFICATE_PATH'),
    federatedTokenFile: variable('AZURE_FEDERATED_TOKEN_FILE'),
    identityEndpoint: variable('IDENTITY_ENDPOINT'),
    identityHeader: variable('IDENTITY_HEADER'),
    imdsHost: variable('AZURE_POD_IDENTITY_AUTHORITY_HOST'),
  }
}

export function checkIdentityConfig(raw: RawIdentityConfig): AzureIdentityConfig {
  const { identityEndpoint, identityHeader, certificatePath } = raw
  return {
    authorityHost: checkAuthority(raw.authorityHost),
    credentials: checkKinds(raw.credentials),
    tenantId: raw.tenantId?.value,
    clientId: raw.clientId?.value,
    clientSecret: raw.clientSecret?.value,
    certificate: certificatePath && readPem(certificatePath),
    federatedTokenFile: raw.federatedTokenFile?.value,
    managedIdentity: identityEndpoint && identityHeader && { endpoint: checkUrl(identityEndpoint), header: identityHeader.value },
    imdsHost: raw.imdsHost && checkUrl(raw.imdsHost),
  }
}

/** As AZURE_TOKEN_CREDENTIALS is for Azure's SDKs. */
function checkKinds(raw: Raw | undefined): readonly AzureCredentialKind[] {
  const chosen = checkOneOf(raw, 'all', ['prod', 'dev', ...KINDS, 'all'])
  if (chosen === 'all') return KINDS
  if (chosen === 'prod') return SERVER_KINDS
  return chosen === 'dev' ? DEVELOPER_KINDS : [chosen]
}

/** Secrets go there. */
function checkAuthority(raw: Raw | undefined): string {
  const url = raw ? checkUrl(raw) : AUTHORITY_HOST
  if (raw && !url.startsWith('https:')) throw refused(raw, 'an https:// URL')
  return url
}

function checkUrl(raw: Raw): string {
  // Other SDKs take a host alone for https.
  const url = URL.parse(raw.value.includes('://') ? raw.value : `https://${raw.value}`)
  if (!url || !/^https?:$/.test(url.protocol)) throw refused(raw, 'an http:// or https:// URL')
  return url.href.replace(/\/+$/, '')
}

function readPem(raw: Raw): string {
  try {
    const pem = readFileSync(raw.value, 'utf8')
    if (/-----BEGIN CERTIFICATE-----/.test(pem) && /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) return pem
  } catch (error) {
    throw refused(raw, 'a readable file', error)
  }
  throw refused(raw, 'a PEM file with a certificate and its private key')
}
