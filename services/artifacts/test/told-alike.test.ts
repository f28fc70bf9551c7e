import { readFile } from 'node:fs/promises'
import { createServer as createPlainServer } from 'node:http'
import { createServer } from 'node:https'
import { createServer as createTcpServer, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { listenOnLoopback, tempFolder } from '../../../test/services/process.ts'
import { makeCertificates } from '../../../test/services/tls.ts'
import { bodyOf } from '../src/conformance/bodies.ts'
import type { Driver } from '../src/driver.ts'
import { checkStoreSettings, openSchemes, readStoreSettings } from '../src/drivers/table.ts'
import { HeldBytes } from '../src/held-bytes.ts'

type Env = Record<string, string>

/** Stores that speak HTTP, at a server that is none of them. */
const STORES: [name: string, env: (url: string) => Env, root: (url: string) => string][] = [
  ['S3', MLFLOW_S3_ENDPOINT_URL => ({ MLFLOW_S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' }), () => 's3://bucket/p'],
  ['Google Cloud Storage', STORAGE_EMULATOR_HOST => ({ STORAGE_EMULATOR_HOST }), () => 'gs://bucket/p'],
  [
    'Azure',
    url => ({ AZURE_STORAGE_CONNECTION_STRING: `AccountName=a;AccountKey=AAAA;BlobEndpoint=${url}/a` }),
    () => 'wasbs://container@a.blob.core.windows.net/p',
  ],
  ['HDFS', MILLRACE_WEBHDFS_URL => ({ MILLRACE_WEBHDFS_URL }), () => 'hdfs:///p'],
  ['another tracking server', () => ({}), url => `${url}/api/2.0/mlflow-artifacts/artifacts/p`],
]

async function told(env: Env, root: string): Promise<unknown> {
  return toldOf(env, root, driver => driver.write('x', bodyOf('1'), { length: 1 }))
}

async function toldOf(env: Env, root: string, action: (driver: Driver) => Promise<unknown>): Promise<unknown> {
  await using schemes = openSchemes(checkStoreSettings(readStoreSettings(env)), new HeldBytes())
  const driver = await schemes.byName.get(root.slice(0, root.indexOf(':')))?.open(root, { isTrusted: true })
  return (
    driver &&
    action(driver).then(
      () => 'taken',
      reason => reason,
    )
  )
}

describe.each(STORES)('%s', (_name, env, root) => {
  test('with a certificate that nobody vouches for, or without TLS, is told as such', async () => {
    await using folder = await tempFolder('untrusted')
    const { certFile, keyFile } = await makeCertificates(folder.path, 'nobody')
    const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)])
    for (const server of [createServer({ cert, key }), createPlainServer()]) {
      const url = `https://127.0.0.1:${await listenOnLoopback(server)}`
      const rawMessage = expect.stringMatching(
        /^No trusted connection to the .* is possible \((UNABLE_TO_VERIFY_LEAF_SIGNATURE|EPROTO|ERR_SSL\w*)\)$/,
      )
      expect(await told(env(url), root(url))).toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE', rawMessage })
      server.closeAllConnections()
      server.close()
    }
  })

  test('that is full is told as such', async () => {
    const server = createPlainServer((request, response) => void request.resume().once('end', () => response.writeHead(507).end()))
    const url = `http://127.0.0.1:${await listenOnLoopback(server)}`
    const rawMessage = expect.stringMatching(/^The artifact store .*is full/)
    expect(await told(env(url), root(url))).toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE', rawMessage })
    server.closeAllConnections()
    server.close()
  })
})

describe('a store', () => {
  /** The silence limit is ten minutes: only the one for connections can end this. */
  test.concurrent.for(STORES)('whose TLS handshake stalls is given up: %s', async ([, env, root], { expect }) => {
    const sockets = new Set<Socket>()
    const server = createTcpServer(socket => sockets.add(socket.on('error', () => undefined)))
    const url = `https://127.0.0.1:${await listenOnLoopback(server)}`
    const settings = { ...env(url), MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '600' }
    for (const body of [1, 300_000]) {
      const error = await toldOf(settings, root(url), driver => driver.write('x', bodyOf('x'.repeat(body)), { length: body }))
      expect(error).toMatchObject({ errorCode: 'DEADLINE_EXCEEDED' })
    }
    for (const socket of sockets) socket.destroy()
    server.close()
  })

  test.for(STORES.filter(([name]) => name !== 'S3'))('whose response has no end is not read whole: %s', async ([, env, root]) => {
    const server = createPlainServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' })
      const spaces = Buffer.alloc(1024 * 1024, ' ')
      const go = () => {
        while (!response.destroyed && response.write(spaces));
      }
      response.on('drain', go)
      go()
    })
    const url = `http://127.0.0.1:${await listenOnLoopback(server)}`
    const error = await toldOf(env(url), root(url), async driver => {
      for await (const _ of driver.list('x'));
    })
    expect(error).toMatchObject({ errorCode: 'INTERNAL_ERROR' })
    server.closeAllConnections()
    server.close()
  })
})
