import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { HttpAgents } from '../http-agents.ts'
import { httpSettings, type S3Config } from './config.ts'
import { type CredentialSource, createCredentials } from './credentials.ts'
import { renewOutdated } from './renewal.ts'
import { giveUpOnSilence } from './silence.ts'

const ATTEMPTS_MAX = 3
const DEFAULT_REGION = 'us-east-1'

/** A client of S3 or a server that speaks its protocol, by MLflow's settings. Destroying it closes its connections. */
export function createS3Client(config: S3Config, agents = new HttpAgents(httpSettings(config))): S3Client {
  const shared = connectionConfig(config, agents)
  const credentials = config.unsigned
    ? undefined
    : createCredentials({ keys: config.credentials, identity: config.identity, sts: stsConfig(config, shared) })
  const client = new S3Client(clientConfig(config, shared, credentials))
  giveUpOnSilence(client)
  if (credentials) renewOutdated(client, credentials)
  return client
}

type Shared = ReturnType<typeof connectionConfig>

/** Everything that the SDK would look up in the environment or in files by itself is said here. */
function connectionConfig(config: S3Config, agents: HttpAgents) {
  return {
    region: config.region ?? DEFAULT_REGION,
    maxAttempts: ATTEMPTS_MAX,
    retryMode: 'standard',
    defaultsMode: 'standard',
    useDualstackEndpoint: false,
    useFipsEndpoint: false,
    ignoreConfiguredEndpointUrls: true,
    authSchemePreference: [],
    sigv4aSigningRegionSet: [],
    disableClockSkewCorrection: false,
    userAgentAppId: '',
    requestHandler: {
      requestTimeout: config.timeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: config.timeoutMs,
      httpAgent: agents.http,
      httpsAgent: agents.https,
    },
  } satisfies S3ClientConfig
}

function clientConfig(config: S3Config, shared: Shared, credentials: CredentialSource | undefined): S3ClientConfig {
  return {
    ...shared,
    endpoint: config.endpointUrl,
    credentials: credentials ?? { accessKeyId: '', secretAccessKey: '' },
    // The same rule as botocore's for MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE.
    forcePathStyle: config.endpointUrl ? config.addressingStyle !== 'virtual' : config.addressingStyle === 'path',
    followRegionRedirects: true,
    useArnRegion: false,
    disableMultiregionAccessPoints: false,
    disableS3ExpressSessionAuth: false,
    // Servers that only speak S3's protocol often refuse the SDK's newer checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...(config.userAgent ? { customUserAgent: config.userAgent } : {}),
    ...(credentials ? {} : { signer: { sign: async request => request } }),
  }
}

function stsConfig({ identity, region = DEFAULT_REGION }: S3Config, shared: Shared) {
  const suffix = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'
  return { ...shared, endpoint: identity.stsEndpointUrl ?? `https://sts.${region}.${suffix}` }
}
