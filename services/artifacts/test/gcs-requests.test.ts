import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { bodyOf } from '../src/conformance/bodies.ts'
import type { Driver } from '../src/driver.ts'
import { openGcsScheme } from '../src/drivers/gcs/scheme.ts'
import { gcsConfig } from './gcs-server.ts'

/** A driver whose server answers everything alike. */
async function against(status: number, reason: string, action: (driver: Driver) => Promise<void>, silent = false): Promise<string[]> {
  const seen: string[] = []
  const body = JSON.stringify({ error: { code: status, message: 'secret of the account', errors: [{ reason }] } })
  const server = createServer((req, res) => {
    seen.push(`${req.method} ${req.url}`)
    req.resume()
    if (!silent) res.writeHead(status, { 'Content-Type': 'application/json' }).end(body)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const STORAGE_EMULATOR_HOST = `127.0.0.1:${(server.address() as AddressInfo).port}`
  await using scheme = openGcsScheme(gcsConfig({ STORAGE_EMULATOR_HOST, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '1' }))
  try {
    await action(await scheme.open('gs://bucket/p'))
  } finally {
    server.closeAllConnections()
    server.close()
  }
  return seen
}

describe('GCS requests', () => {
  test.each([
    [401, 'authError', 'UNAUTHENTICATED', 1],
    [403, 'forbidden', 'PERMISSION_DENIED', 1],
    [403, 'rateLimitExceeded', 'TEMPORARILY_UNAVAILABLE', 1],
    [429, 'rateLimitExceeded', 'TEMPORARILY_UNAVAILABLE', 4],
    [503, 'backendError', 'TEMPORARILY_UNAVAILABLE', 4],
    [400, 'invalid', 'INVALID_PARAMETER_VALUE', 1],
  ])('%d %s is %s, after %d requests', async (status, reason, errorCode, requests) => {
    const seen = await against(status, reason, async driver => {
      const error = await driver.write('k', bodyOf('1')).catch(failure => failure)
      expect(error).toMatchObject({ errorCode })
      expect(String(error)).not.toContain('secret')
    })
    expect(seen.length).toBe(requests)
  })

  test('a server that never answers is given up, once', async () => {
    const seen = await against(
      200,
      '',
      async driver => {
        await expect(driver.stat('k')).rejects.toMatchObject({ errorCode: 'DEADLINE_EXCEEDED' })
      },
      true,
    )
    expect(seen.length).toBe(1)
  })

  test.each([
    ['CKih16GjycICEAE=', '"CKih16GjycICEAE="'],
    ['"quoted"', '"quoted"'],
    ['W/"weak"', 'W/"weak"'],
  ])('the tag %s is %s to clients', async (etag, expected) => {
    const server = createServer((_, res) => res.writeHead(200, { ETag: etag, 'Content-Length': 1 }).end('x'))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const STORAGE_EMULATOR_HOST = `127.0.0.1:${(server.address() as AddressInfo).port}`
    await using scheme = openGcsScheme(gcsConfig({ STORAGE_EMULATOR_HOST }))
    const found = await (await scheme.open('gs://bucket/p')).read('k')
    found.body.destroy()
    expect(found.etag).toBe(expected)
    server.closeAllConnections()
    server.close()
  })

  test('without credentials nothing is signed', () =>
    against(404, 'notFound', async driver => {
      expect([driver.multipart, driver.presign]).toEqual([undefined, undefined])
    }))
})

describe('GCS configuration', () => {
  test('has MLflow’s defaults, and Google’s endpoint', () => {
    expect(gcsConfig({})).toMatchObject({ endpoint: 'https://storage.googleapis.com', emulated: false, timeoutMs: 60_000 })
    expect(gcsConfig({ MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '-1' }).timeoutMs).toBe(86_400_000)
    expect(gcsConfig({ MILLRACE_GCS_PUBLIC_ENDPOINT: 'https://files.example/' }).publicEndpoint).toBe('https://files.example')
  })

  test.each([
    [{ MLFLOW_GCS_UPLOAD_CHUNK_SIZE: '1000' }, 'MLFLOW_GCS_UPLOAD_CHUNK_SIZE'],
    [{ MLFLOW_GCS_DOWNLOAD_CHUNK_SIZE: '0' }, 'a multiple of 262144'],
    [{ MILLRACE_GCS_PUBLIC_ENDPOINT: 'files.example' }, 'MILLRACE_GCS_PUBLIC_ENDPOINT'],
    [{ GOOGLE_APPLICATION_CREDENTIALS: '/nowhere.json' }, 'GOOGLE_APPLICATION_CREDENTIALS'],
    [{ MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '0' }, 'from 1 to 86400'],
  ])('%j is refused with its name and what is allowed', (env, message) => {
    expect(() => gcsConfig(env)).toThrow(message)
  })
})
