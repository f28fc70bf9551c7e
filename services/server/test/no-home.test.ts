import { chown, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createBucket, describeWith } from '../../../test/services/backends.ts'
import { readTestConfig, repository } from '../../../test/services/config.ts'
import { httpClient } from '../../../test/services/http.ts'
import { answers, freePort, type Running, start, type TempFolder, tempFolder } from '../../../test/services/process.ts'

const NOBODY = 123_456
const artifacts = '/api/2.0/mlflow-artifacts/artifacts'

/** The server under a user that the system doesn't know, whose environment names no home. */
async function startHomeless(folder: TempFolder, args: string[], env: Record<string, string> = {}): Promise<Running & { url: string }> {
  await chown(folder.path, NOBODY, 0)
  const url = `http://127.0.0.1:${await freePort()}`
  const plain = ['--reuid', String(NOBODY), '--regid', '0', '--clear-groups', 'env', '-i', `PATH=${process.env.PATH}`]
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const command = [join(repository, 'node_modules/.bin/millrace'), 'server', '--port', new URL(url).port, ...args]
  const running = await start({
    command: 'setpriv',
    args: [...plain, ...variables, ...command],
    cwd: folder.path,
    ready: () => answers(`${url}/health`),
  })
  return Object.assign(running, { url })
}

/** Only root can become another user; on CI its absence is a failure. */
const isSkipped = process.getuid?.() !== 0 && !readTestConfig().ci

describe.skipIf(isSkipped)('a user without a name and a home [needs root]', () => {
  test('keeps its artifacts in a local folder', async () => {
    await using folder = await tempFolder('homeless')
    await using server = await startHomeless(folder, ['--backend-store-uri', 'sqlite:///m.db', '--artifacts-destination', 'a'])
    using client = httpClient(server.url)
    expect((await client.send('PUT', `${artifacts}/x.txt`, 'kept')).status).toBe(200)
    expect(await readFile(join(folder.path, 'a/x.txt'), 'utf8')).toBe('kept')
  })

  describeWith(['s3'], 'on S3', () => {
    test.each([
      ['keys', (keys: Record<string, string>) => keys],
      [
        'a profile of a file that it names',
        ({ AWS_ACCESS_KEY_ID: _, AWS_SECRET_ACCESS_KEY: __, ...rest }: Record<string, string>, file: string) => ({
          ...rest,
          AWS_SHARED_CREDENTIALS_FILE: file,
        }),
      ],
    ])('with %s from the environment', async (_, envOf) => {
      await using folder = await tempFolder('homeless')
      await using bucket = await createBucket('homeless')
      const file = join(folder.path, 'credentials')
      const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = bucket.env
      await writeFile(file, `[default]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`)
      const args = ['--artifacts-only', '--artifacts-destination', `${bucket.uri}/x`]
      await using server = await startHomeless(folder, args, envOf(bucket.env, file))
      using client = httpClient(server.url)
      expect((await client.send('PUT', `${artifacts}/d/x.txt`, 'kept')).status).toBe(200)
      expect((await client.send('GET', `${artifacts}/d/x.txt`)).text).toBe('kept')
      expect(await client.ok('GET', `${artifacts}?path=d`)).toEqual({ files: [{ path: 'x.txt', is_dir: false, file_size: 4 }] })
    })
  })

  test('is told of other stores that they are not reachable, and nothing of a home', async () => {
    const unreachable = {
      'gs://bucket/x': { STORAGE_EMULATOR_HOST: 'http://127.0.0.1:1' },
      'sftp://u:p@127.0.0.1:1/x': {},
      'webhdfs://127.0.0.1:1/x': {},
    }
    const check = async ([destination, env]: [string, Record<string, string>]) => {
      await using folder = await tempFolder('homeless')
      await using server = await startHomeless(folder, ['--artifacts-only', '--artifacts-destination', destination], env)
      using client = httpClient(server.url)
      const { status, text } = await client.send('GET', `${artifacts}?path=d`)
      expect([destination, status, text]).toEqual([destination, 503, expect.stringContaining('TEMPORARILY_UNAVAILABLE')])
    }
    await Promise.all(Object.entries(unreachable).map(check))
  })
})
