import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkArtifacts, readArtifacts } from '../src/service.ts'

const check = (env: Record<string, string>, flags: Record<string, string | boolean> = {}) => checkArtifacts(readArtifacts(env, flags))

describe('configuration', () => {
  test('has MLflow’s defaults', () => {
    expect(check({})).toMatchObject({
      artifactsDestination: resolve('./mlartifacts'),
      presignedDownloadTtlSeconds: 300,
      stores: { s3: { addressingStyle: 'auto', verifyTls: true, unsigned: false, uploadExtraArgs: {} } },
    })
    expect(check({}, { serveArtifacts: false }).artifactsDestination).toBeUndefined()
  })

  test('reads MLflow’s and AWS’s variables', () => {
    const config = check({
      MLFLOW_ARTIFACTS_DESTINATION: 's3://bucket/prefix',
      MLFLOW_S3_ENDPOINT_URL: 'https://s3.example',
      MLFLOW_S3_IGNORE_TLS: 'true',
      MLFLOW_S3_UPLOAD_EXTRA_ARGS: '{"ServerSideEncryption": "aws:kms", "Metadata": {"team": "a"}}',
      MLFLOW_S3_EXPECTED_BUCKET_OWNER: '123456789012',
      MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE: 'virtual',
      MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION: 'unsigned',
      MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '7',
      AWS_DEFAULT_REGION: 'eu-north-1',
      AWS_ACCESS_KEY_ID: 'id',
      AWS_SECRET_ACCESS_KEY: 'key',
    })
    expect(config.artifactsDestination).toBe('s3://bucket/prefix')
    expect(config.stores.s3).toMatchObject({
      endpointUrl: 'https://s3.example',
      verifyTls: false,
      uploadExtraArgs: { ServerSideEncryption: 'aws:kms' },
      expectedBucketOwner: '123456789012',
      addressingStyle: 'virtual',
      unsigned: true,
      timeoutMs: 7000,
      region: 'eu-north-1',
      credentials: { accessKeyId: 'id' },
    })
  })

  test.each([
    [{ MLFLOW_ARTIFACTS_DESTINATION: 'dbfs://u:secret@h/x' }, "Invalid value for MLFLOW_ARTIFACTS_DESTINATION: 'dbfs://u:***@h/x'"],
    [{ MLFLOW_S3_ENDPOINT_URL: 'localhost:9000' }, 'Invalid value for MLFLOW_S3_ENDPOINT_URL'],
    [{ MLFLOW_S3_UPLOAD_EXTRA_ARGS: '[1]' }, 'a JSON object of S3 upload arguments'],
    [{ MLFLOW_S3_UPLOAD_EXTRA_ARGS: '{"SSECustomerKey": "k", "Nope": 1}' }, "'Nope'"],
    [{ MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE: 'other' }, 'auto, path, virtual'],
    [{ AWS_CA_BUNDLE: '/nowhere.pem' }, 'AWS_CA_BUNDLE'],
    [{ MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS: '0' }, 'from 1 to 604800'],
  ])('%j is refused with its name, value and what is allowed', (env, message) => {
    expect(() => check(env)).toThrow(message)
  })
})
