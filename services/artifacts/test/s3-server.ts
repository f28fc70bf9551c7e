import { checkS3Config, type S3Config } from '../src/drivers/s3/config.ts'

/** The S3 server that tests use: TEST_S3_ENDPOINT, TEST_S3_ACCESS_KEY and TEST_S3_SECRET_KEY, else the one of development. */
export function s3TestConfig(): S3Config {
  const {
    TEST_S3_ENDPOINT = 'http://127.0.0.1:19000',
    TEST_S3_ACCESS_KEY = 'millrace',
    TEST_S3_SECRET_KEY = 'millrace-secret',
  } = process.env
  const config = checkS3Config({ endpointUrl: { value: TEST_S3_ENDPOINT, source: 'TEST_S3_ENDPOINT' } })
  return {
    ...config,
    region: 'us-east-1',
    credentials: { accessKeyId: TEST_S3_ACCESS_KEY, secretAccessKey: TEST_S3_SECRET_KEY },
  }
}
