import { checkBoolean, checkOneOf, type Env, type Raw, read, refused } from '@millrace/kit/config'
import type { HttpSettings } from '../http-agents.ts'
import { checkProxies, type Proxies, type RawProxies, readProxies } from '../proxies.ts'
import { checkTimeoutSeconds, readCertificates } from '../settings.ts'
import { extraArgNames } from './extra-args.ts'
import { type AwsIdentity, checkAwsIdentity, checkEndpoint, type RawAwsIdentity, readAwsIdentity } from './identity-config.ts'

export interface S3Config {
  endpointUrl?: string
  /** Where clients reach the store that `endpointUrl` is for: the host of signed URLs. */
  publicEndpointUrl?: string
  /** Instead of the host that an `r2://` or `b2://` location names. */
  r2EndpointUrl?: string
  b2EndpointUrl?: string
  /** Absent: the profile's, else us-east-1. */
  region?: string
  /** Absent: those of `identity`. */
  credentials?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string }
  identity: AwsIdentity
  /** Requests without a signature, for public buckets. */
  unsigned: boolean
  addressingStyle: 'auto' | 'path' | 'virtual'
  verifyTls: boolean
  /** Certificates in PEM that TLS connections trust. */
  caBundle?: string
  /** Account that must own the bucket, sent with every call. */
  expectedBucketOwner?: string
  /** Parameters of PutObject, for everything that is uploaded. */
  uploadExtraArgs: Record<string, unknown>
  /** Added to the SDK's. */
  userAgent?: string
  /** Longest silence of the store within a call, in milliseconds. */
  timeoutMs: number
  /** Through which the store is reached. */
  proxies?: Proxies
}

export interface RawS3Config {
  endpointUrl?: Raw
  configuredEndpointUrl?: Raw
  ignoreConfiguredEndpoints?: Raw
  publicEndpointUrl?: Raw
  r2EndpointUrl?: Raw
  b2EndpointUrl?: Raw
  identity?: RawAwsIdentity
  region?: Raw
  accessKeyId?: Raw
  secretAccessKey?: Raw
  sessionToken?: Raw
  signatureVersion?: Raw
  addressingStyle?: Raw
  ignoreTls?: Raw
  caBundle?: Raw
  expectedBucketOwner?: Raw
  uploadExtraArgs?: Raw
  timeoutSeconds?: Raw
  proxies?: RawProxies
}

const TIMEOUT_SECONDS = 60

export function readS3Config(env: Env): RawS3Config {
  const variable = (...names: string[]) => read(env, {}, undefined, ...names)
  return {
    endpointUrl: variable('MLFLOW_S3_ENDPOINT_URL'),
    configuredEndpointUrl: variable('AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL'),
    ignoreConfiguredEndpoints: variable('AWS_IGNORE_CONFIGURED_ENDPOINT_URLS'),
    publicEndpointUrl: variable('MILLRACE_S3_PUBLIC_ENDPOINT'),
    r2EndpointUrl: variable('MILLRACE_R2_ENDPOINT_URL'),
    b2EndpointUrl: variable('MILLRACE_B2_ENDPOINT_URL'),
    identity: readAwsIdentity(env),
    region: variable('AWS_REGION', 'AWS_DEFAULT_REGION'),
    accessKeyId: variable('AWS_ACCESS_KEY_ID'),
    secretAccessKey: variable('AWS_SECRET_ACCESS_KEY'),
    sessionToken: variable('AWS_SESSION_TOKEN'),
    signatureVersion: variable('MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION'),
    addressingStyle: variable('MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE'),
    ignoreTls: variable('MLFLOW_S3_IGNORE_TLS'),
    caBundle: variable('AWS_CA_BUNDLE', 'REQUESTS_CA_BUNDLE'),
    expectedBucketOwner: variable('MLFLOW_S3_EXPECTED_BUCKET_OWNER'),
    uploadExtraArgs: variable('MLFLOW_S3_UPLOAD_EXTRA_ARGS'),
    timeoutSeconds: variable('MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT'),
    proxies: readProxies(env),
  }
}

export function httpSettings({ timeoutMs, proxies, caBundle, verifyTls }: S3Config): HttpSettings {
  return { timeoutMs, proxies, tls: { ca: caBundle, rejectUnauthorized: verifyTls } }
}

export function checkS3Config(raw: RawS3Config): S3Config {
  const { accessKeyId, secretAccessKey } = raw
  const { identity, section } = checkAwsIdentity(raw.identity ?? {})
  const caBundle = raw.caBundle ?? (section.ca_bundle ? { value: section.ca_bundle, source: 'ca_bundle of the AWS profile' } : undefined)
  const configured = checkEndpoint(raw.configuredEndpointUrl) ?? section['s3.endpoint_url'] ?? section.endpoint_url
  return {
    endpointUrl: checkEndpoint(raw.endpointUrl) ?? (checkBoolean(raw.ignoreConfiguredEndpoints, false) ? undefined : configured),
    publicEndpointUrl: checkEndpoint(raw.publicEndpointUrl),
    r2EndpointUrl: checkEndpoint(raw.r2EndpointUrl),
    b2EndpointUrl: checkEndpoint(raw.b2EndpointUrl),
    region: raw.region?.value ?? section.region,
    identity,
    credentials: accessKeyId &&
      secretAccessKey && {
        accessKeyId: accessKeyId.value,
        secretAccessKey: secretAccessKey.value,
        sessionToken: raw.sessionToken?.value,
      },
    unsigned: checkOneOf(raw.signatureVersion, 's3v4', ['s3v4', 'unsigned']) === 'unsigned',
    addressingStyle: checkOneOf(raw.addressingStyle, 'auto', ['auto', 'path', 'virtual']),
    verifyTls: !checkBoolean(raw.ignoreTls, false),
    caBundle: caBundle && readCertificates(caBundle),
    expectedBucketOwner: raw.expectedBucketOwner?.value,
    uploadExtraArgs: checkExtraArgs(raw.uploadExtraArgs),
    timeoutMs: checkTimeoutSeconds(raw.timeoutSeconds, TIMEOUT_SECONDS) * 1000,
    proxies: checkProxies(raw.proxies),
  }
}

function checkExtraArgs(raw: Raw | undefined): Record<string, unknown> {
  if (!raw) return {}
  const hidden = { ...raw, value: '…' }
  let args: unknown
  try {
    args = JSON.parse(raw.value)
  } catch (error) {
    throw refused(hidden, 'a JSON object of S3 upload arguments', error)
  }
  if (typeof args !== 'object' || args === null || Array.isArray(args)) throw refused(hidden, 'a JSON object of S3 upload arguments')
  const unknown = Object.keys(args).find(name => !extraArgNames.includes(name))
  if (unknown !== undefined) throw refused({ ...raw, value: unknown }, extraArgNames.join(', '))
  return args as Record<string, unknown>
}
