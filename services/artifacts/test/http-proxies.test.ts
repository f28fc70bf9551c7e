import { createHash, randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createContainer, startAzurite } from '../../../test/services/azure.ts'
import { createGcsBucket, startGcs } from '../../../test/services/gcs.ts'
import { startHdfs } from '../../../test/services/hdfs.ts'
import { freePort, listenOnLoopback, tempFolder } from '../../../test/services/process.ts'
import { startHttpProxy } from '../../../test/services/proxy.ts'
import { startS3 } from '../../../test/services/s3.ts'
import { makeCertificates } from '../../../test/services/tls.ts'
import { createS3Client } from '../src/drivers/s3/client.ts'
import { checkS3Config, readS3Config } from '../src/drivers/s3/config.ts'
import { openFrontDoor } from './front-door.ts'

type Env = Record<string, string>

/** A store as a server is told of it; `target` begins what a proxy is asked for. */
interface Place {
  destination: string
  env: Env
  target: string
}

const LARGE = randomBytes(9 * 1024 * 1024)
const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

async function s3Env(stack: AsyncDisposableStack): Promise<[plain: Place, secure: Place]> {
  const folder = stack.use(await tempFolder('proxied-s3'))
  const { certFile, keyFile, caFile } = await makeCertificates(folder.path, 'proxied')
  const port = await freePort()
  const server = stack.use(await startS3({ tls: { certFile, keyFile, port } }))
  const keys = { AWS_ACCESS_KEY_ID: server.accessKey, AWS_SECRET_ACCESS_KEY: server.secretKey, AWS_DEFAULT_REGION: 'us-east-1' }
  const plain = { ...keys, MLFLOW_S3_ENDPOINT_URL: server.endpoint }
  const client = createS3Client(checkS3Config(readS3Config(plain)))
  await client.send(new CreateBucketCommand({ Bucket: 'proxied' }))
  client.destroy()
  const secure = { ...keys, MLFLOW_S3_ENDPOINT_URL: `https://127.0.0.1:${port}`, AWS_CA_BUNDLE: caFile }
  return [
    { destination: 's3://proxied/plain', env: plain, target: server.endpoint },
    { destination: 's3://proxied/secure', env: secure, target: `CONNECT 127.0.0.1:${port}` },
  ]
}

const START: Record<string, (stack: AsyncDisposableStack) => Promise<Place>> = {
  S3: async stack => (await s3Env(stack))[0],
  'S3 over TLS': async stack => (await s3Env(stack))[1],
  'Azure Blob Storage': async stack => {
    const server = stack.use(await startAzurite())
    const { uri } = stack.use(await createContainer(server))
    return { destination: `${uri}/p`, env: { AZURE_STORAGE_CONNECTION_STRING: server.connectionString }, target: server.endpoint }
  },
  'Google Cloud Storage': async stack => {
    const server = stack.use(await startGcs())
    const { uri } = await createGcsBucket(server)
    return { destination: `${uri}/p`, env: server.env, target: server.endpoint }
  },
  WebHDFS: async stack => {
    const [MILLRACE_WEBHDFS_URL = ''] = stack.use(await startHdfs()).nameNodes
    return { destination: 'hdfs:///proxied', env: { MILLRACE_WEBHDFS_URL, HADOOP_USER_NAME: 'millrace' }, target: MILLRACE_WEBHDFS_URL }
  },
  'another tracking server': async stack => {
    const folder = stack.use(await tempFolder('proxied-http'))
    const { url } = stack.use(await openFrontDoor(folder.path))
    return { destination: `${url}/p`, env: {}, target: url }
  },
}

async function roundTrip(url: string): Promise<void> {
  const ok = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(url + path, init)
    expect([response.status, response.ok ? '' : await response.text()]).toEqual([expect.toBeOneOf([200, 206]), ''])
    return response
  }
  await ok('/d/small', { method: 'PUT', body: 'hello' })
  await ok('/d/large', { method: 'PUT', body: LARGE })
  expect(await (await ok('?path=d')).json()).toEqual({
    files: [
      { path: 'large', is_dir: false, file_size: LARGE.length },
      { path: 'small', is_dir: false, file_size: 5 },
    ],
  })
  expect(digest(await (await ok('/d/large')).bytes())).toBe(digest(LARGE))
  expect(await (await ok('/d/small', { headers: { Range: 'bytes=1-3' } })).text()).toBe('ell')
  await ok('/d', { method: 'DELETE' })
  expect(await (await ok('?path=d')).json()).toEqual({})
}

describe.each(Object.entries(START))('%s', (_name, startPlace) => {
  const stack = new AsyncDisposableStack()
  let place: Place
  beforeAll(async () => {
    place = await startPlace(stack)
  }, 300_000)
  afterAll(() => stack.disposeAsync())

  const withDoor = async (env: Env, action: (url: string) => Promise<void>) => {
    await using door = await openFrontDoor(place.destination, { env: { ...place.env, ...env } })
    await action(door.url)
  }
  const put = async (url: string) => {
    const response = await fetch(`${url}/x`, { method: 'PUT', body: 'x' })
    return [response.status, await response.text()] as const
  }

  test('is reached through the proxy, and in no other way', async () => {
    const port = await freePort()
    const url = `127.0.0.1:${port}`
    await withDoor({ http_proxy: url, HTTPS_PROXY: url, NO_PROXY: '10.0.0.0/8' }, async door => {
      {
        await using proxy = await startHttpProxy({ port })
        await roundTrip(door)
        const requests = await proxy.requests()
        expect(requests.filter(request => request.includes(place.target)).length).toBeGreaterThan(0)
      }
      const [status, text] = await put(door)
      expect(text).toMatch(/The HTTP proxy of the artifact store is not reachable/)
      expect(status).toBe(503)
    })
  })

  test('is reached without the proxy when NO_PROXY names it', async () => {
    const HTTP_PROXY = `http://127.0.0.1:${await freePort()}`
    const hosts = 'example.com, 127.0.0.0/8,localhost'
    await withDoor({ HTTP_PROXY, HTTPS_PROXY: HTTP_PROXY, NO_PROXY: hosts }, roundTrip)
  })

  test('is reached through a proxy that asks for a password, and says so when there is none', async () => {
    await using proxy = await startHttpProxy({ user: { name: 'someone', password: 'sesame' } })
    const withPassword = proxy.url.replace('//', '//someone:sesame@')
    await withDoor({ HTTP_PROXY: withPassword, HTTPS_PROXY: withPassword }, async url => {
      expect(await put(url)).toEqual([200, expect.anything()])
    })
    await withDoor({ HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url }, async url => {
      const [status, text] = await put(url)
      expect(text).toMatch(/The HTTP proxy refused the server's credentials/)
      expect(status).toBe(401)
    })
  })
})

test('a proxy that opens no tunnel is given up', async () => {
  const server = createServer()
  const url = `http://127.0.0.1:${await listenOnLoopback(server)}`
  const keys = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' }
  const env = { ...keys, MLFLOW_S3_ENDPOINT_URL: 'https://127.0.0.1:1', HTTPS_PROXY: url, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '600' }
  await using door = await openFrontDoor('s3://bucket/p', { env })
  const response = await fetch(`${door.url}/x`, { method: 'PUT', body: 'x' })
  expect(await response.text()).toMatch(/The artifact store or its HTTP proxy took too long/)
  server.close()
})
