import { readTestConfig, serverVariables } from './config.ts'
import { openGuard } from './guard.ts'
import { startPostgres } from './postgres.ts'
import { startRedis } from './redis.ts'
import { startS3 } from './s3.ts'

/** Starts PostgreSQL, Redis and S3 once for the whole run, unless the environment names running ones. Absent ones are named. */
export default async function setup(): Promise<() => Promise<void>> {
  const config = readTestConfig()
  const stack = new AsyncDisposableStack()
  stack.use(await openGuard())
  const absent: string[] = []
  const offer = async <T extends AsyncDisposable>(
    name: keyof typeof serverVariables,
    begin: () => Promise<T>,
    values: (server: T) => string[],
  ) => {
    if (serverVariables[name].every(variable => process.env[variable])) return
    try {
      const server = stack.use(await begin())
      values(server).forEach((value, i) => {
        process.env[serverVariables[name][i] ?? ''] = value
      })
    } catch (error) {
      absent.push(`${name} is absent: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  await offer('postgres', startPostgres, s => [s.url])
  await offer('redis', startRedis, s => [s.url])
  await offer('s3', startS3, s => [s.endpoint, s.accessKey, s.secretKey])
  if (absent.length > 0) {
    if (config.ci) {
      await stack.disposeAsync()
      throw new Error(`on CI every server must be there\n${absent.join('\n')}`)
    }
    for (const line of absent) console.warn(`${line}\n  its tests are skipped`)
  }
  return () => stack.disposeAsync()
}
