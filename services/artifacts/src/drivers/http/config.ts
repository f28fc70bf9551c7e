import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { checkBoolean, type Env, type Raw, read, refused } from '@millrace/kit/config'
import { checkProxies, type Proxies, type RawProxies, readProxies } from '../proxies.ts'
import { checkTimeoutSeconds } from '../settings.ts'

/** How another tracking server is spoken to, by the variables that MLflow's clients have. */
export interface HttpConfig {
  /** Value of the Authorization header for servers that the operator named. */
  authorization?: string
  verifyTls: boolean
  /** Certificates in PEM that TLS connections trust instead of the usual ones. */
  serverCertificates?: string
  /** A certificate and its key in PEM, for servers that ask for one. */
  clientCertificate?: string
  /** What `mlflow-artifacts://host` URIs become; absent: https without a port or with 443, http with another port. */
  tracking?: { protocol: 'http:' | 'https:'; prefix: string }
  /** Longest silence of the other server within a call, in milliseconds. */
  timeoutMs: number
  /** Through which the store is reached. */
  proxies?: Proxies
}

export interface RawHttpConfig {
  username?: Raw
  password?: Raw
  token?: Raw
  insecureTls?: Raw
  serverCertPath?: Raw
  clientCertPath?: Raw
  trackingUri?: Raw
  timeoutSeconds?: Raw
  proxies?: RawProxies
}

const TIMEOUT_SECONDS = 120

export function readHttpConfig(env: Env): RawHttpConfig {
  const variable = (...names: string[]) => read(env, {}, undefined, ...names)
  return {
    username: variable('MLFLOW_TRACKING_USERNAME'),
    password: variable('MLFLOW_TRACKING_PASSWORD'),
    token: variable('MLFLOW_TRACKING_TOKEN'),
    insecureTls: variable('MLFLOW_TRACKING_INSECURE_TLS'),
    serverCertPath: variable('MLFLOW_TRACKING_SERVER_CERT_PATH'),
    clientCertPath: variable('MLFLOW_TRACKING_CLIENT_CERT_PATH'),
    trackingUri: variable('MLFLOW_TRACKING_URI'),
    timeoutSeconds: variable('MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT', 'MLFLOW_HTTP_REQUEST_TIMEOUT'),
    proxies: readProxies(env),
  }
}

export function checkHttpConfig(raw: RawHttpConfig): HttpConfig {
  const insecure = checkBoolean(raw.insecureTls, false)
  if (insecure && raw.serverCertPath) throw refused(raw.serverCertPath, 'nothing when MLFLOW_TRACKING_INSECURE_TLS is true')
  return {
    authorization: authorizationOf(raw),
    verifyTls: !insecure,
    serverCertificates: raw.serverCertPath && readPem(raw.serverCertPath, 'a readable file of certificates in PEM', ca => ({ ca })),
    clientCertificate:
      raw.clientCertPath &&
      readPem(raw.clientCertPath, 'a readable file with a certificate and its key in PEM', pem => ({ cert: pem, key: pem })),
    tracking: trackingOf(raw.trackingUri),
    timeoutMs: checkTimeoutSeconds(raw.timeoutSeconds, TIMEOUT_SECONDS) * 1000,
    proxies: checkProxies(raw.proxies),
  }
}

/** A user's name and password come before a token, as with MLflow's clients. */
function authorizationOf({ username, password, token }: RawHttpConfig): string | undefined {
  if (username && password) return basic(username.value, password.value)
  if (!token) return undefined
  if (!/^[\x21-\x7e]+$/.test(token.value)) throw refused({ ...token, value: '…' }, 'a token of printable characters')
  return `Bearer ${token.value}`
}

export const basic = (username: string, password: string) => `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`

/** Without the cause of a refusal, which may quote a key. */
function readPem(raw: Raw, form: string, use: (pem: string) => Parameters<typeof createSecureContext>[0]): string {
  try {
    const pem = readFileSync(raw.value, 'utf8')
    createSecureContext(use(pem))
    return pem
  } catch {
    throw refused(raw, form)
  }
}

/** Other kinds of tracking URIs (a database, Databricks) say nothing about artifact servers. */
function trackingOf(raw: Raw | undefined): HttpConfig['tracking'] {
  const url = raw && URL.parse(raw.value)
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined
  return { protocol: url.protocol, prefix: url.pathname.replace(/\/+$/, '') }
}
