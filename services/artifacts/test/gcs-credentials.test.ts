import { generateKeyPairSync } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { listenOnLoopback, tempFolder } from '../../../test/services/process.ts'
import type { Driver } from '../src/driver.ts'
import { openGcsScheme } from '../src/drivers/gcs/scheme.ts'
import { gcsConfig } from './gcs-server.ts'

type Env = Record<string, string>

async function listening(serve: RequestListener): Promise<AsyncDisposable & { host: string }> {
  const server = createServer(serve)
  const host = `127.0.0.1:${await listenOnLoopback(server)}`
  return {
    host,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** What a store is shown by a server with these settings, which has no other credentials. */
async function shown(env: Env, look: (driver: Driver) => void = () => undefined): Promise<string | undefined> {
  let authorization: string | undefined
  await using store = await listening((request, response) => {
    authorization = request.headers.authorization
    response.setHeader('Content-Type', 'application/json').end('{"size":"1"}')
  })
  const config = gcsConfig({ API_ENDPOINT_OVERRIDE: `http://${store.host}`, METADATA_SERVER_DETECTION: 'none', ...env })
  await using scheme = openGcsScheme(config)
  const driver = await scheme.open('gs://bucket/p')
  expect(await driver.stat('k')).toEqual({ isDir: false, sizeBytes: 1 })
  look(driver)
  return authorization
}

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const serviceAccount = (client_email: string) =>
  JSON.stringify({
    type: 'service_account',
    client_email,
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    private_key_id: 'k',
  })

/** Of the token that a service account has made for itself. */
function issuerOf(authorization: string | undefined): unknown {
  const [, claims = ''] = /^Bearer [^.]+\.([^.]+)\./.exec(authorization ?? '') ?? []
  return JSON.parse(Buffer.from(claims, 'base64url').toString() || '{}').iss
}

describe('credentials for Google Cloud Storage', () => {
  afterEach(() => vi.unstubAllEnvs())

  test('none are anonymous, and sign nothing', async () => {
    const look = ({ multipart, presign }: Driver) => expect([multipart, presign]).toEqual([undefined, undefined])
    expect(await shown({}, look)).toBeUndefined()
  })

  test('a service account by its file, else gcloud’s file: both make tokens and URLs by themselves', async () => {
    await using folder = await tempFolder('gcs-credentials')
    const [named, gcloud] = [join(folder.path, 'named.json'), join(folder.path, '.config/gcloud')]
    await mkdir(gcloud, { recursive: true })
    await writeFile(named, serviceAccount('named@p.iam.gserviceaccount.com'))
    await writeFile(join(gcloud, 'application_default_credentials.json'), serviceAccount('gcloud@p.iam.gserviceaccount.com'))
    const look = ({ multipart, presign }: Driver) => expect([multipart, presign?.upload]).not.toContain(undefined)
    for (const env of [{ HOME: folder.path }, { CLOUDSDK_CONFIG: gcloud }] as Env[]) {
      expect(issuerOf(await shown(env, look))).toBe('gcloud@p.iam.gserviceaccount.com')
    }
    const both = { HOME: folder.path, GOOGLE_APPLICATION_CREDENTIALS: named }
    expect(issuerOf(await shown(both, look))).toBe('named@p.iam.gserviceaccount.com')
  })

  test('the machine’s own by its metadata server', async () => {
    await using machine = await listening((request, response) => {
      response.setHeader('Metadata-Flavor', 'Google').setHeader('Content-Type', 'application/json')
      const { url = '' } = request
      if (url.includes('/token')) return response.end('{"access_token":"of-the-machine","expires_in":3600,"token_type":"Bearer"}')
      response.setHeader('Content-Type', 'text/plain').end(url.includes('/email') ? 'machine@p.iam.gserviceaccount.com' : 'p')
    })
    vi.stubEnv('GCE_METADATA_HOST', machine.host)
    expect(await shown({ METADATA_SERVER_DETECTION: 'ping-only' })).toBe('Bearer of-the-machine')
    expect(await shown({ METADATA_SERVER_DETECTION: 'none' })).toBeUndefined()
  })

  test('a token that the store refuses is made anew, once', async () => {
    await using folder = await tempFolder('gcs-credentials')
    const file = join(folder.path, 'account.json')
    await writeFile(file, serviceAccount('named@p.iam.gserviceaccount.com'))
    const seen: unknown[] = []
    await using store = await listening((request, response) => {
      seen.push(issuerOf(request.headers.authorization))
      response.writeHead(seen.length === 2 ? 200 : 401, { 'Content-Type': 'application/json' }).end('{"size":"1"}')
    })
    const env = { API_ENDPOINT_OVERRIDE: `http://${store.host}`, GOOGLE_APPLICATION_CREDENTIALS: file }
    await using scheme = openGcsScheme(gcsConfig(env))
    const driver = await scheme.open('gs://bucket/p')
    expect(await driver.stat('k')).toEqual({ isDir: false, sizeBytes: 1 })
    await expect(driver.stat('k')).rejects.toMatchObject({ errorCode: 'UNAUTHENTICATED' })
    expect(seen).toEqual(Array(seen.length).fill('named@p.iam.gserviceaccount.com'))
  })

  test('an account of another cloud gets a token of Google for its own, and the store is called through the proxy', async () => {
    await using folder = await tempFolder('gcs-credentials')
    const [file, source] = [join(folder.path, 'account.json'), join(folder.path, 'subject')]
    const seen: string[] = []
    await using proxy = await listening((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization}`)
      response.setHeader('Content-Type', 'application/json')
      const token = { access_token: 'exchanged', issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' }
      response.end(JSON.stringify(request.url?.includes('/token') ? { ...token, token_type: 'Bearer', expires_in: 3600 } : { size: '1' }))
    })
    const account = {
      type: 'external_account',
      audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      token_url: `http://${proxy.host}/v1/token`,
      credential_source: { file: source },
    }
    await writeFile(source, 'subject')
    await writeFile(file, JSON.stringify(account))
    const env = { API_ENDPOINT_OVERRIDE: 'http://store.example', GOOGLE_APPLICATION_CREDENTIALS: file, HTTP_PROXY: `http://${proxy.host}` }
    await using scheme = openGcsScheme(gcsConfig(env))
    expect(await (await scheme.open('gs://bucket/p')).stat('k')).toEqual({ isDir: false, sizeBytes: 1 })
    expect(seen).toEqual(['POST /v1/token undefined', 'GET http://store.example/storage/v1/b/bucket/o/p%2Fk?fields=size Bearer exchanged'])
  })

  test('a person’s token is asked for through the proxy', async () => {
    await using folder = await tempFolder('gcs-credentials')
    const file = join(folder.path, 'person.json')
    await writeFile(file, JSON.stringify({ type: 'authorized_user', client_id: 'c', client_secret: 's', refresh_token: 'r' }))
    const seen: unknown[] = []
    const proxy = createServer().on('connect', ({ url }, socket) => {
      seen.push(url)
      socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
    })
    const HTTPS_PROXY = `http://127.0.0.1:${await listenOnLoopback(proxy)}`
    await using scheme = openGcsScheme(gcsConfig({ GOOGLE_APPLICATION_CREDENTIALS: file, HTTPS_PROXY }))
    const driver = await scheme.open('gs://bucket/p')
    expect([driver.multipart, driver.presign]).toEqual([undefined, undefined])
    await expect(driver.stat('k')).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
    expect(seen).toContain('oauth2.googleapis.com:443')
    proxy.close()
  })
})
