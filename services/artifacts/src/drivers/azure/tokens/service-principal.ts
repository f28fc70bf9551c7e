import { createHash, createSign, randomUUID, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Connection } from '../connection.ts'
import type { AzureIdentityConfig } from '../identity-config.ts'
import { tokenOf } from './answer.ts'
import { type AccessToken, STORAGE_RESOURCE, type TokenProvider } from './token.ts'

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const ASSERTION_SECONDS = 600

/** AZURE_TENANT_ID and AZURE_CLIENT_ID with AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH. */
export function servicePrincipal(config: AzureIdentityConfig, connection: Connection): TokenProvider {
  const { tenantId, clientId, clientSecret, certificate } = config
  return {
    name: 'service principal',
    async fetch(signal) {
      if (!tenantId || !clientId || !(clientSecret || certificate)) return undefined
      const proof: Record<string, string> = clientSecret
        ? { client_secret: clientSecret }
        : { client_assertion_type: ASSERTION_TYPE, client_assertion: assertion(certificate ?? '', clientId, tokenUrl(config)) }
      return exchange(config, connection, proof, signal)
    },
  }
}

/** AZURE_FEDERATED_TOKEN_FILE, as Kubernetes sets it. */
export function workloadIdentity(config: AzureIdentityConfig, connection: Connection): TokenProvider {
  const { tenantId, clientId, federatedTokenFile } = config
  return {
    name: 'workload identity',
    async fetch(signal) {
      if (!tenantId || !clientId || !federatedTokenFile) return undefined
      const federated = (await readFile(federatedTokenFile, 'utf8')).trim()
      return exchange(config, connection, { client_assertion_type: ASSERTION_TYPE, client_assertion: federated }, signal)
    },
  }
}

const tokenUrl = ({ authorityHost, tenantId = '' }: AzureIdentityConfig) =>
  `${authorityHost}/${encodeURIComponent(tenantId)}/oauth2/v2.0/token`

async function exchange(
  config: AzureIdentityConfig,
  connection: Connection,
  proof: Record<string, string>,
  signal: AbortSignal,
): Promise<AccessToken> {
  const form = { grant_type: 'client_credentials', client_id: config.clientId ?? '', scope: `${STORAGE_RESOURCE}/.default`, ...proof }
  const body = Buffer.from(new URLSearchParams(form).toString())
  const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': String(body.length) }
  return tokenOf(await connection.send({ method: 'POST', url: tokenUrl(config), headers, body, signal }))
}

/** Source: "Microsoft identity platform application authentication certificate credentials". */
function assertion(pem: string, clientId: string, audience: string): string {
  const { raw } = new X509Certificate(pem)
  const header = { alg: 'RS256', typ: 'JWT', x5t: createHash('sha1').update(raw).digest('base64url') }
  const now = Math.floor(Date.now() / 1000)
  const claims = { aud: audience, iss: clientId, sub: clientId, jti: randomUUID(), nbf: now, exp: now + ASSERTION_SECONDS }
  const signed = [header, claims].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  const key = /-----BEGIN ([A-Z ]*PRIVATE KEY)-----[^-]+-----END \1-----/.exec(pem)?.[0] ?? ''
  return `${signed}.${createSign('RSA-SHA256').update(signed).sign(key, 'base64url')}`
}
