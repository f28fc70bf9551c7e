import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import type { S3Config } from './config.ts'

const CONNECT_TIMEOUT_MS = 10_000
const ATTEMPTS_MAX = 3
const CONNECTIONS_MAX = 256
const DEFAULT_REGION = 'us-east-1'

/** A client of S3 or a server that speaks its protocol, by MLflow's settings. Destroying it closes its connections. */
export async function createS3Client(config: S3Config): Promise<S3Client> {
  const client = new S3Client(clientConfig(config, config.region))
  if (config.region) return client
  try {
    await client.config.region()
    return client
  } catch {
    // Neither the environment nor a profile names a region.
    client.destroy()
    return new S3Client(clientConfig(config, DEFAULT_REGION))
  }
}

function clientConfig(config: S3Config, region: string | undefined): S3ClientConfig {
  const agent = { keepAlive: true, maxSockets: CONNECTIONS_MAX, noDelay: true }
  return {
    region,
    endpoint: config.endpointUrl,
    credentials: config.unsigned ? { accessKeyId: '', secretAccessKey: '' } : config.credentials,
    // The same rule as botocore's for MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE.
    forcePathStyle: config.endpointUrl ? config.addressingStyle !== 'virtual' : config.addressingStyle === 'path',
    followRegionRedirects: true,
    maxAttempts: ATTEMPTS_MAX,
    // Servers that only speak S3's protocol often refuse the SDK's newer checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: config.timeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: config.timeoutMs,
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent({ ...agent, ca: config.caBundle, rejectUnauthorized: config.verifyTls }),
    },
    ...(config.unsigned ? { signer: { sign: async request => request } } : {}),
  }
}
