import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
export const cacheFolder = join(repository, '.cache')
export const sharedFolder = resolve(repository, '../shared')

/** The names under which every test finds the servers that globalSetup started; a missing variable means an absent server. */
export const serverVariables = {
  postgres: ['TEST_POSTGRES_URL'],
  redis: ['TEST_REDIS_URL'],
  s3: ['TEST_S3_ENDPOINT', 'TEST_S3_ACCESS_KEY', 'TEST_S3_SECRET_KEY'],
} as const

const SEED = 20_261_201

export interface TestConfig {
  /** On CI an absent server fails the run; elsewhere its tests are skipped under its name. */
  ci: boolean
  /** A Python environment with MLflow to use instead of making one. */
  venv: string | undefined
  postgresUrl: string | undefined
  redisUrl: string | undefined
  s3: { endpoint: string; accessKey: string; secretKey: string } | undefined
  /** Size of the artifacts of test/chaos/large-uploads.test.ts, when it is to be other than small. */
  uploadBytes: number | undefined
  /** Whether tests that repeat something at random do so for long. */
  soak: boolean
  /** What those tests begin their random choices with. */
  seed: number
}

export function readTestConfig(env: NodeJS.ProcessEnv = process.env): TestConfig {
  const { TEST_S3_ENDPOINT: endpoint, TEST_S3_ACCESS_KEY: accessKey, TEST_S3_SECRET_KEY: secretKey } = env
  return {
    ci: env.CI === 'true' || env.CI === '1',
    venv: env.MILLRACE_TEST_VENV,
    postgresUrl: env.TEST_POSTGRES_URL,
    redisUrl: env.TEST_REDIS_URL,
    s3: endpoint && accessKey && secretKey ? { endpoint, accessKey, secretKey } : undefined,
    soak: env.MILLRACE_TEST_SOAK === '1',
    seed: Number(env.MILLRACE_TEST_SEED ?? SEED),
    uploadBytes: env.MILLRACE_TEST_UPLOAD_BYTES ? Number(env.MILLRACE_TEST_UPLOAD_BYTES) : undefined,
  }
}
