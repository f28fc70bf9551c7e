import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { checkBoolean, checkInteger, type Env, type Raw, read, refused } from '@millrace/kit/config'
import { checkTimeoutSeconds } from '../settings.ts'

export interface FtpConfig {
  /** For URIs without a user, at hosts that the operator named. */
  credentials?: { user: string; password: string }
  /** Explicit TLS (RFC 4217) for commands and data; a server without it is refused. */
  isSecure: boolean
  /** Certificates in PEM that TLS connections trust instead of the usual ones. */
  certificates?: string
  /** Control connections to one host as one user. */
  connectionsMax: number
  /** Longest silence of the server within a call, in milliseconds. */
  timeoutMs: number
}

export interface RawFtpConfig {
  username?: Raw
  password?: Raw
  tls?: Raw
  caFile?: Raw
  connectionsMax?: Raw
  timeoutSeconds?: Raw
}

const CONNECTIONS = 16
const CONNECTIONS_MAX = 1_024
const TIMEOUT_SECONDS = 60

export function readFtpConfig(env: Env): RawFtpConfig {
  const variable = (...names: string[]) => read(env, {}, undefined, ...names)
  return {
    username: variable('MILLRACE_FTP_USERNAME'),
    password: variable('MILLRACE_FTP_PASSWORD'),
    tls: variable('MILLRACE_FTP_TLS'),
    caFile: variable('MILLRACE_FTP_CA_FILE'),
    connectionsMax: variable('MILLRACE_FTP_CONNECTIONS_MAX'),
    timeoutSeconds: variable('MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT'),
  }
}

export function checkFtpConfig(raw: RawFtpConfig): FtpConfig {
  const { username, password, caFile } = raw
  for (const given of [username, password]) {
    if (given && /[\r\n\0]/.test(given.value)) throw refused({ ...given, value: '…' }, 'a text without line ends')
  }
  return {
    credentials: username && { user: username.value, password: password?.value ?? '' },
    isSecure: checkBoolean(raw.tls, false),
    certificates: caFile && readCertificates(caFile),
    connectionsMax: checkInteger(raw.connectionsMax, CONNECTIONS, 1, CONNECTIONS_MAX),
    timeoutMs: checkTimeoutSeconds(raw.timeoutSeconds, TIMEOUT_SECONDS) * 1000,
  }
}

function readCertificates(raw: Raw): string {
  try {
    const ca = readFileSync(raw.value, 'utf8')
    createSecureContext({ ca })
    return ca
  } catch (error) {
    throw refused(raw, 'a readable file of certificates in PEM', error)
  }
}
