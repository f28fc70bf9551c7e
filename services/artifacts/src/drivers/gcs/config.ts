import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkOneOf, type Env, type Raw, read, refused } from '@millrace/kit/config'
import { checkProxies, type Proxies, type RawProxies, readProxies } from '../proxies.ts'
import { checkTimeoutSeconds, readCertificates } from '../settings.ts'

export interface GcsConfig {
  /** URL without a slash at its end. */
  endpoint: string
  /** An emulator's endpoint, which gets no credentials; URLs are still signed. */
  emulated: boolean
  /** Where clients reach the store, for the URLs that they are handed; without a slash at its end. */
  publicEndpoint: string
  /** File of GOOGLE_APPLICATION_CREDENTIALS. Absent: gcloud's file where there is one, else the metadata server, else anonymous. */
  credentialsFile?: string
  /** Where gcloud keeps application default credentials. */
  gcloudFile?: string
  /** Whether the metadata server, and with it the machine's role, may be asked for. */
  metadataServer: boolean
  /** Certificates in PEM that TLS connections trust. */
  caBundle?: string
  /** Longest silence of the store within a call, in milliseconds. */
  timeoutMs: number
  /** Absent: a long body of known length is one request that passes through, and one of unknown length goes in chunks of a default size. */
  uploadChunkBytes?: number
  /** Absent: an object is read with one request. */
  downloadChunkBytes?: number
  /** Through which the store is reached. */
  proxies?: Proxies
}

export interface RawGcsConfig {
  emulatorHost?: Raw
  endpoint?: Raw
  publicEndpoint?: Raw
  credentialsFile?: Raw
  gcloudFolder?: Raw
  home?: Raw
  metadataDetection?: Raw
  caBundle?: Raw
  timeoutSeconds?: Raw
  uploadChunkBytes?: Raw
  downloadChunkBytes?: Raw
  proxies?: RawProxies
}

const ENDPOINT = 'https://storage.googleapis.com'
const TIMEOUT_SECONDS = 60
/** Source: Cloud Storage, resumable uploads: every chunk but the last. */
const CHUNK_UNIT_BYTES = 256 * 1024
const CHUNK_BYTES_MAX = 1024 * 1024 * 1024
/** Google's values of METADATA_SERVER_DETECTION, whose differences its library knows by the environment. */
const DETECTIONS = ['assume-present', 'none', 'bios-only', 'ping-only'] as const
const CREDENTIAL_TYPES = [
  'service_account',
  'authorized_user',
  'external_account',
  'external_account_authorized_user',
  'impersonated_service_account',
  'gdch_service_account',
]

export function readGcsConfig(env: Env): RawGcsConfig {
  const variable = (...names: string[]) => read(env, {}, undefined, ...names)
  return {
    emulatorHost: variable('STORAGE_EMULATOR_HOST'),
    endpoint: variable('API_ENDPOINT_OVERRIDE'),
    publicEndpoint: variable('MILLRACE_GCS_PUBLIC_ENDPOINT'),
    credentialsFile: variable('GOOGLE_APPLICATION_CREDENTIALS'),
    gcloudFolder: variable('CLOUDSDK_CONFIG'),
    home: variable('HOME'),
    metadataDetection: variable('METADATA_SERVER_DETECTION'),
    caBundle: variable('REQUESTS_CA_BUNDLE'),
    timeoutSeconds: variable('MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT'),
    uploadChunkBytes: variable('MLFLOW_GCS_UPLOAD_CHUNK_SIZE'),
    downloadChunkBytes: variable('MLFLOW_GCS_DOWNLOAD_CHUNK_SIZE'),
    proxies: readProxies(env),
  }
}

export function checkGcsConfig(raw: RawGcsConfig): GcsConfig {
  const emulator = raw.emulatorHost && checkEndpoint(raw.emulatorHost, withScheme(raw.emulatorHost.value))
  const endpoint = emulator ?? (raw.endpoint ? checkEndpoint(raw.endpoint, raw.endpoint.value) : ENDPOINT)
  const gcloudFolder = raw.gcloudFolder?.value ?? (raw.home && join(raw.home.value, '.config', 'gcloud'))
  return {
    endpoint,
    emulated: emulator !== undefined,
    publicEndpoint: raw.publicEndpoint ? checkEndpoint(raw.publicEndpoint, raw.publicEndpoint.value) : endpoint,
    credentialsFile: raw.credentialsFile && checkCredentialsFile(raw.credentialsFile),
    gcloudFile: gcloudFolder && join(gcloudFolder, 'application_default_credentials.json'),
    metadataServer: checkOneOf(raw.metadataDetection, 'ping-only', DETECTIONS) !== 'none',
    caBundle: raw.caBundle && readCertificates(raw.caBundle),
    timeoutMs: checkTimeoutSeconds(raw.timeoutSeconds, TIMEOUT_SECONDS) * 1000,
    uploadChunkBytes: checkChunk(raw.uploadChunkBytes),
    downloadChunkBytes: checkChunk(raw.downloadChunkBytes),
    proxies: checkProxies(raw.proxies),
  }
}

/** Google's clients take an emulator's host with and without a scheme. */
function withScheme(host: string): string {
  return host.includes('://') ? host : `http://${host}`
}

function checkEndpoint(raw: Raw, value: string): string {
  const url = URL.parse(value)
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.search || url.hash) {
    throw refused(raw, 'an http:// or https:// URL without user, query and fragment')
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '')
}

/** Reads it once at the start, since a file that can't be used would otherwise only be found out about by the first client. */
function checkCredentialsFile(raw: Raw): string {
  const allowed = `a readable JSON file of credentials of the type ${CREDENTIAL_TYPES.join(', ')}`
  let type: unknown
  try {
    type = (JSON.parse(readFileSync(raw.value, 'utf8')) as { type?: unknown } | null)?.type
  } catch {
    // Without its cause, which quotes the file.
    throw refused(raw, allowed)
  }
  if (!CREDENTIAL_TYPES.includes(String(type))) throw refused(raw, allowed)
  return raw.value
}

function checkChunk(raw: Raw | undefined): number | undefined {
  if (!raw) return undefined
  const allowed = `a multiple of ${CHUNK_UNIT_BYTES} from ${CHUNK_UNIT_BYTES} to ${CHUNK_BYTES_MAX}`
  const bytes = /^\d+$/.test(raw.value.trim()) ? Number(raw.value) : 0
  if (bytes < CHUNK_UNIT_BYTES || bytes > CHUNK_BYTES_MAX || bytes % CHUNK_UNIT_BYTES !== 0) throw refused(raw, allowed)
  return bytes
}
