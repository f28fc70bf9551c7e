import { constants, createHash, createPublicKey, verify, X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer as createPlainServer, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer, request } from 'node:https'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { type AzureServer, bearer, createContainer, startAzurite } from '../../../test/services/azure.ts'
import { describeWithServer } from '../../../test/services/backends.ts'
import { listenOnLoopback, runOk, tempFolder } from '../../../test/services/process.ts'
import { type Certificates, makeCertificates } from '../../../test/services/tls.ts'
import { checkArtifacts, readArtifacts } from '../src/config.ts'
import { bodyOf, generated, text } from '../src/conformance/bodies.ts'
import { openAzureScheme } from '../src/drivers/azure/scheme.ts'
import { openStores } from '../src/stores.ts'
import { azureConfig } from './azure-server.ts'

interface Issuer extends AsyncDisposable {
  url: string
  /** Line, headers and form of every request. */
  seen: { line: string; headers: IncomingMessage['headers']; form: URLSearchParams }[]
}

/** A token endpoint of any kind. With certificates it is an authority, which says first where its tokens are. */
async function startIssuer(answer: () => { status?: number; body: object }, certificates?: Certificates): Promise<Issuer> {
  const seen: Issuer['seen'] = []
  const listener: RequestListener = async (call, response) => {
    const form = new URLSearchParams(await text(call))
    const discovered = call.url?.endsWith('/.well-known/openid-configuration')
    if (!discovered) seen.push({ line: `${call.method} ${call.url}`, headers: call.headers, form })
    const { status = 200, body } = discovered ? { body: discovery() } : answer()
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
  const [cert, key] = certificates ? await Promise.all([readFile(certificates.certFile), readFile(certificates.keyFile)]) : []
  const server = certificates ? createServer({ cert, key }, listener) : createPlainServer(listener)
  const url = `${certificates ? 'https' : 'http'}://127.0.0.1:${await listenOnLoopback(server)}`
  const discovery = () => ({
    issuer: `${url}/ten/v2.0`,
    token_endpoint: `${url}/ten/oauth2/v2.0/token`,
    authorization_endpoint: `${url}/ten/oauth2/v2.0/authorize`,
    end_session_endpoint: `${url}/ten/oauth2/v2.0/logout`,
    jwks_uri: `${url}/ten/discovery/v2.0/keys`,
  })
  return {
    url,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

interface SecureServer extends AsyncDisposable {
  azurite: AzureServer
  certificates: Certificates
  folder: string
}

async function startSecure(): Promise<SecureServer> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('azure-identity')).path
  const certificates = await makeCertificates(folder, 'azurite')
  const azurite = stack.use(await startAzurite(certificates))
  const opened = stack.move()
  return { azurite, certificates, folder, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

await describeWithServer('azurite with tokens', startSecure, ({ azurite, certificates, folder }) => {
  const base = {
    AZURE_STORAGE_CONNECTION_STRING: `AccountName=${azurite.account};BlobEndpoint=${azurite.endpoint}`,
    REQUESTS_CA_BUNDLE: certificates.caFile,
    // Nobody is there, as elsewhere than in Azure.
    AZURE_POD_IDENTITY_AUTHORITY_HOST: 'http://127.0.0.1:1',
  }
  // Authorities say how long a token lasts, endpoints of managed identities when it ends.
  const lasting = (token = bearer(3600)) => ({ access_token: token, expires_in: 3600, expires_on: inAnHour(), token_type: 'Bearer' })
  const inAnHour = () => String(Math.floor(Date.now() / 1000) + 3600)
  const fresh = () => ({ body: lasting() })

  const withTokens = async (
    env: Record<string, string>,
    action: (driver: Awaited<ReturnType<typeof openAt>>['driver']) => Promise<void>,
  ) => {
    await using container = await createContainer(azurite)
    await using opened = await openAt(container.uri, env)
    await action(opened.driver)
  }

  async function openAt(uri: string, env: Record<string, string>) {
    const scheme = openAzureScheme(azureConfig({ ...base, ...env }))
    const driver = await scheme.open(`${uri}/r`)
    return { driver, [Symbol.asyncDispose]: () => scheme[Symbol.asyncDispose]() }
  }

  test('a service principal’s secret is exchanged for a token, which serves every call until it ends', async () => {
    await using issuer = await startIssuer(fresh, certificates)
    const env = { AZURE_AUTHORITY_HOST: issuer.url, AZURE_TENANT_ID: 'ten', AZURE_CLIENT_ID: 'cli', AZURE_CLIENT_SECRET: 'hush' }
    await withTokens(env, async driver => {
      await driver.write('big', generated(20_000_000), { length: 20_000_000 })
      await driver.write('blocks', generated(20_000_000))
      expect(await driver.stat('big')).toEqual({ isDir: false, sizeBytes: 20_000_000 })
      await driver.remove('big')
    })
    expect(issuer.seen.map(({ line }) => line.split('?')[0])).toEqual(['POST /ten/oauth2/v2.0/token'])
    expect(Object.fromEntries(issuer.seen[0]?.form ?? [])).toMatchObject({
      grant_type: 'client_credentials',
      client_id: 'cli',
      client_secret: 'hush',
      scope: 'https://storage.azure.com/.default',
    })
  })

  test('a service principal’s certificate signs an assertion', async () => {
    await using issuer = await startIssuer(fresh, certificates)
    const { privateKey, certificate } = await rsaCertificate(folder)
    const pem = join(folder, 'principal.pem')
    await writeFile(pem, `${privateKey}\n${certificate}`)
    const env = { AZURE_AUTHORITY_HOST: issuer.url, AZURE_TENANT_ID: 'ten', AZURE_CLIENT_ID: 'cli', AZURE_CLIENT_CERTIFICATE_PATH: pem }
    await withTokens(env, async driver => {
      await driver.write('k', bodyOf('1'))
    })
    const [header = '', claims = '', signature = ''] = issuer.seen[0]?.form.get('client_assertion')?.split('.') ?? []
    const x509 = new X509Certificate(certificate)
    const decoded = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
    const thumbprint = createHash('sha256').update(x509.raw).digest('base64url')
    expect(decoded(header)).toEqual({ alg: 'PS256', typ: 'JWT', 'x5t#S256': thumbprint })
    expect(decoded(claims)).toMatchObject({ aud: `${issuer.url}/ten/oauth2/v2.0/token`, iss: 'cli', sub: 'cli' })
    const key = { key: createPublicKey(certificate), padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
    expect(verify('sha256', Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, 'base64url'))).toBe(true)
  })

  test('a workload identity’s file is read for every token', async () => {
    await using issuer = await startIssuer(
      () => ({ body: { access_token: bearer(3600), expires_in: 100, token_type: 'Bearer' } }),
      certificates,
    )
    const file = join(folder, 'federated')
    await writeFile(file, 'first\n')
    const env = { AZURE_AUTHORITY_HOST: issuer.url, AZURE_TENANT_ID: 'ten', AZURE_CLIENT_ID: 'cli', AZURE_FEDERATED_TOKEN_FILE: file }
    await withTokens(env, async driver => {
      await driver.stat('k')
      await writeFile(file, 'second\n')
      await driver.stat('k')
    })
    const assertions = issuer.seen.map(({ form }) => form.get('client_assertion'))
    expect(assertions[0]).toBe('first')
    expect(assertions.at(-1)).toBe('second')
  })

  test('a managed identity: App Service’s endpoint, and the metadata service', async () => {
    await using issuer = await startIssuer(fresh)
    const app = { IDENTITY_ENDPOINT: `${issuer.url}/msi/token`, IDENTITY_HEADER: 'hush', AZURE_CLIENT_ID: 'cli' }
    await withTokens(app, async driver => {
      expect(await driver.stat('k')).toBeUndefined()
    })
    expect(issuer.seen).toHaveLength(1)
    expect(issuer.seen[0]?.line).toBe('GET /msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com&client_id=cli')
    expect(issuer.seen[0]?.headers['x-identity-header']).toBe('hush')
    await withTokens({ AZURE_POD_IDENTITY_AUTHORITY_HOST: issuer.url }, async driver => {
      expect(await driver.stat('k')).toBeUndefined()
    })
    expect(issuer.seen.at(-1)?.line.replace('/?', '?')).toBe(
      'GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com',
    )
    expect(issuer.seen.at(-1)?.headers.metadata).toBe('true')
  })

  test('with tokens a user delegation key signs parts and presigned URLs', async () => {
    await using issuer = await startIssuer(fresh)
    const env = { IDENTITY_ENDPOINT: issuer.url, IDENTITY_HEADER: 'hush' }
    const ca = await readFile(certificates.caFile, 'utf8')
    await withTokens(env, async driver => {
      const { multipart, presign } = driver
      if (!multipart || !presign) throw new Error('without multipart and presign')
      const { uploadId, parts } = await multipart.start('m', 2)
      for (const [i, { url }] of parts.entries()) expect((await send(ca, 'PUT', url, `part ${i} `)).status).toBe(201)
      const sent = parts.map(({ partNumber, url }) => ({ partNumber, url, etag: '' }))
      await multipart.complete('m', uploadId, sent)
      const { url } = await presign.download('m', 604_800)
      expect(url).toContain('skoid=object&sktid=tenant')
      expect(await send(ca, 'GET', url)).toEqual({ status: 200, content: 'part 0 part 1 ' })
      expect((await send(ca, 'GET', `${url}x`)).status).toBe(403)
      await driver.remove('m')
    })
  })

  test('a storage profile asks for no identity of the machine by itself', async () => {
    await using issuer = await startIssuer(fresh)
    const profiles = join(folder, 'profiles.json')
    const metadata = { ...base, AZURE_POD_IDENTITY_AUTHORITY_HOST: issuer.url }
    const asking = { ...metadata, AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential' }
    await using container = await createContainer(azurite)
    await writeFile(
      profiles,
      JSON.stringify({
        silent: { prefixes: [`${container.uri}/a`], settings: metadata },
        asking: { prefixes: [`${container.uri}/b`], settings: asking },
      }),
    )
    await using stores = openStores(checkArtifacts(readArtifacts({ MILLRACE_STORAGE_PROFILES: profiles }, {})))
    const statBelow = async (path: string) => (await stores.open(`${container.uri}/${path}`)).store.stat('k')
    await expect(statBelow('a')).rejects.toMatchObject({ errorCode: 'UNAUTHENTICATED' })
    expect(issuer.seen).toEqual([])
    expect(await statBelow('b')).toBeUndefined()
    expect(issuer.seen.length).toBeGreaterThan(0)
  })

  test('a token that the store takes for expired is replaced, once', async () => {
    let issued = 0
    await using issuer = await startIssuer(() => ({ body: lasting(bearer(issued++ === 0 ? -10 : 3600)) }))
    await withTokens({ IDENTITY_ENDPOINT: issuer.url, IDENTITY_HEADER: 'hush' }, async driver => {
      expect(await driver.stat('k')).toBeUndefined()
      expect(issued).toBe(2)
    })
  })

  test('no token, or a refused one, says so without secrets', async () => {
    await using issuer = await startIssuer(
      () => ({ status: 401, body: { error: 'invalid_client', error_description: 'c2VjcmV0' } }),
      certificates,
    )
    const principal = { AZURE_AUTHORITY_HOST: issuer.url, AZURE_TENANT_ID: 'ten', AZURE_CLIENT_ID: 'cli', AZURE_CLIENT_SECRET: 'hush' }
    for (const [env, message] of [
      [principal, 'Azure gave the server no token by its service principal'],
      [{}, 'The server has no credentials for Azure'],
    ] as const) {
      await withTokens(env, async driver => {
        const error: unknown = await driver.stat('k').catch(reason => reason)
        expect(error).toMatchObject({ errorCode: 'UNAUTHENTICATED' })
        expect(String(error)).toContain(message)
        expect(inspect(error, { depth: 8 })).not.toMatch(/c2VjcmV0|hush/)
      })
    }
  })
})

async function rsaCertificate(folder: string): Promise<{ privateKey: string; certificate: string }> {
  const [key, cert] = [join(folder, 'rsa-key.pem'), join(folder, 'rsa-cert.pem')]
  await runOk('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    key,
    '-out',
    cert,
    '-days',
    '2',
    '-subj',
    '/CN=principal',
  ])
  return { privateKey: await readFile(key, 'utf8'), certificate: await readFile(cert, 'utf8') }
}

function send(ca: string, method: string, url: string, body = ''): Promise<{ status: number; content: string }> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method, ca, agent: false, headers: { 'content-length': body.length } }, answer => {
      text(answer).then(content => resolve({ status: answer.statusCode ?? 0, content }), reject)
    })
    call.on('error', reject)
    call.end(body)
  })
}
