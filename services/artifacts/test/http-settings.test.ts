import { readFile, writeFile } from 'node:fs/promises'
import { createServer as createPlainServer, type RequestListener } from 'node:http'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listenOnLoopback, type TempFolder, tempFolder } from '../../../test/services/process.ts'
import { type Certificates, makeCertificates } from '../../../test/services/tls.ts'
import { bodyOf, generated, text } from '../src/conformance/bodies.ts'
import { checkHttpConfig, readHttpConfig } from '../src/drivers/http/config.ts'
import { parseHttpUri } from '../src/drivers/http/location.ts'
import { openHttpScheme } from '../src/drivers/http/scheme.ts'

type Env = Record<string, string>

interface Seen {
  authorization: string | undefined
  /** Whom the certificate that was shown names. */
  peer: string | undefined
}

const API = '/api/2.0/mlflow-artifacts/artifacts'
const config = (env: Env) => checkHttpConfig(readHttpConfig(env))

describe('locations on other tracking servers', () => {
  const at = (protocol: string, hostname: string, port: number | undefined, prefix: string, root: string) => ({
    ...{ protocol, hostname, port, prefix, root },
    authorization: undefined,
  })
  test.each([
    ['mlflow-artifacts://h/a/b', {}, at('https:', 'h', undefined, '', 'a/b')],
    ['mlflow-artifacts://h:443/a', {}, at('https:', 'h', 443, '', 'a')],
    ['mlflow-artifacts://h:5000/a', {}, at('http:', 'h', 5000, '', 'a')],
    [`mlflow-artifacts://h:5000${API}/a/`, {}, at('http:', 'h', 5000, '', 'a')],
    ['mlflow-artifacts://h:5000/a', { MLFLOW_TRACKING_URI: 'https://other/pre/fix/' }, at('https:', 'h', 5000, '/pre/fix', 'a')],
    ['mlflow-artifacts://h/a', { MLFLOW_TRACKING_URI: 'sqlite:///x.db' }, at('https:', 'h', undefined, '', 'a')],
    [`http://h:80${API}/a%20b`, {}, at('http:', 'h', 80, '', 'a%20b')],
    [`https://[::1]:8443/pre/fix${API}`, {}, at('https:', '::1', 8443, '/pre/fix', '')],
  ])('%s with %j', (uri, env, expected) => {
    expect(parseHttpUri(uri, config(env))).toEqual(expected)
  })

  test.each(['http://h/x', 'https://h', 'http://evil\\@h/api', `ftp://h${API}/a`])('%s is refused', uri => {
    expect(() => parseHttpUri(uri)).toThrow(/is not of the form/)
  })
})

describe('settings for other tracking servers', () => {
  let folder: TempFolder
  let certificates: Certificates
  beforeAll(async () => {
    folder = await tempFolder('http-settings')
    certificates = await makeCertificates(folder.path, 'other')
  })
  afterAll(() => folder[Symbol.asyncDispose]())

  /** A server that lists nothing and takes everything, and what it was asked. */
  async function observe(secure: boolean, action: (url: string, seen: Seen[]) => Promise<void>): Promise<void> {
    const seen: Seen[] = []
    const serve: RequestListener = (request, response) => {
      const { socket, headers } = request
      const peer = socket instanceof TLSSocket ? String(socket.getPeerCertificate().subject?.CN) : undefined
      seen.push({ authorization: headers.authorization, peer })
      request.resume().once('end', () => response.end('{}'))
    }
    const [cert, key, ca] = await Promise.all(
      [certificates.certFile, certificates.keyFile, certificates.caFile].map(file => readFile(file)),
    )
    const server = secure ? createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: false }, serve) : createPlainServer(serve)
    try {
      await action(`${secure ? 'https' : 'http'}://127.0.0.1:${await listenOnLoopback(server)}`, seen)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  }

  async function use(url: string, env: Env, isTrusted = true): Promise<void> {
    await using scheme = openHttpScheme(config(env))
    const driver = await scheme.open(`${url}${API}/r`, { isTrusted })
    for await (const _ of driver.list('')) break
    await driver.write('x', bodyOf('1'), { length: 1 })
    // On a connection of its own.
    await driver.write('x', generated(1024 * 1024), { length: 1024 * 1024 })
  }

  const credentials = { MLFLOW_TRACKING_USERNAME: 'u', MLFLOW_TRACKING_PASSWORD: 'p', MLFLOW_TRACKING_TOKEN: 't' }
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  test.each([
    ['', credentials, true, basic('u:p')],
    ['', { MLFLOW_TRACKING_USERNAME: 'u', MLFLOW_TRACKING_TOKEN: 't' }, true, 'Bearer t'],
    ['me:s%40cret@', credentials, true, basic('me:s@cret')],
    ['me:s%40cret@', credentials, false, basic('me:s@cret')],
    ['', credentials, false, undefined],
  ])('a location with "%s" and %j, named by the operator: %s', (user, env, isTrusted, authorization) =>
    observe(false, async (url, seen) => {
      await use(url.replace('//', `//${user}`), env, isTrusted)
      expect(seen.length).toBeGreaterThanOrEqual(4)
      for (const one of seen) expect(one.authorization).toBe(authorization)
    }),
  )

  test('certificates: the server’s is checked unless told otherwise, the own one is shown', () =>
    observe(true, async (url, seen) => {
      const { caFile, certFile, keyFile } = certificates
      await expect(use(url, {})).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
      expect(seen).toEqual([])
      await use(url, { MLFLOW_TRACKING_INSECURE_TLS: 'true' })
      await use(url, { MLFLOW_TRACKING_SERVER_CERT_PATH: caFile })
      const shown = () => seen.splice(0).map(({ peer }) => peer)
      expect(new Set(shown())).toEqual(new Set(['undefined']))
      const own = join(folder.path, 'own.pem')
      await writeFile(own, [await readFile(certFile), await readFile(keyFile)])
      await use(url, { MLFLOW_TRACKING_SERVER_CERT_PATH: caFile, MLFLOW_TRACKING_CLIENT_CERT_PATH: own })
      expect(new Set(shown())).toEqual(new Set(['localhost']))
    }))

  test('a redirection is not followed', () =>
    observe(false, async (elsewhere, seen) => {
      const server = createPlainServer((request, response) => {
        request.resume()
        response.writeHead(307, { Location: `${elsewhere}${request.url}` }).end()
      })
      const url = `http://127.0.0.1:${await listenOnLoopback(server)}`
      await expect(use(url, credentials)).rejects.toMatchObject({ errorCode: 'INTERNAL_ERROR', rawMessage: expect.stringContaining('307') })
      expect(seen).toEqual([])
      server.closeAllConnections()
      server.close()
    }))

  test.each([
    [
      { MLFLOW_TRACKING_INSECURE_TLS: 'true', MLFLOW_TRACKING_SERVER_CERT_PATH: '/ca.pem' },
      /MLFLOW_TRACKING_SERVER_CERT_PATH: '\/ca\.pem'/,
    ],
    [{ MLFLOW_TRACKING_SERVER_CERT_PATH: '/absent.pem' }, /MLFLOW_TRACKING_SERVER_CERT_PATH: '\/absent\.pem'\. Allowed: a readable file/],
    [{ MLFLOW_TRACKING_CLIENT_CERT_PATH: '/absent.pem' }, /MLFLOW_TRACKING_CLIENT_CERT_PATH/],
    [{ MLFLOW_TRACKING_TOKEN: 'hunter2\n' }, /^Invalid value for MLFLOW_TRACKING_TOKEN: '…'/],
    [{ MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '0' }, /MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT/],
  ])('%j is refused at the start', (env, message) => {
    expect(() => config(env as Env)).toThrow(message)
  })
})

describe('a body that another tracking server breaks off', () => {
  const content = 'abcdefghij'
  const modified = new Date(Date.now() - 3_600_000).toUTCString()

  /** What is read of an artifact whose first answer ends after four bytes, when the further ones are of version `later`. */
  async function readBroken(versions: {
    first?: string
    later?: string
    knowsRanges?: boolean
  }): Promise<{ read: Promise<string>; ranges: unknown[] }> {
    const { first, later = first, knowsRanges = true } = versions
    const ranges: unknown[] = []
    const server = createPlainServer((request, response) => {
      if (!request.url?.endsWith('/r/k')) {
        response.writeHead(404).end()
        return
      }
      ranges.push(request.headers.range)
      if (ranges.length === 1) {
        response
          .writeHead(200, { ...(first && { etag: first }), 'last-modified': modified, 'content-length': content.length })
          .write(content.slice(0, 4))
        setTimeout(() => request.socket.destroy(), 50)
      } else if (knowsRanges && request.headers['if-range'] === later) {
        response.writeHead(206, { etag: later, 'content-range': 'bytes 4-9/10', 'content-length': 6 }).end(content.slice(4))
      } else response.writeHead(200, { etag: later, 'content-length': content.length }).end(content)
    })
    const url = `http://127.0.0.1:${await listenOnLoopback(server)}${API}/r`
    await using scheme = openHttpScheme(config({}))
    const driver = await scheme.open(url, { isTrusted: true })
    try {
      const read = text((await driver.read('k')).body)
      await read.catch(() => undefined)
      return { read, ranges }
    } finally {
      server.closeAllConnections()
      server.close()
    }
  }

  test.each([true, false])('goes on where it was in the same version, with a server that knows ranges: %s', async knowsRanges => {
    const { read, ranges } = await readBroken({ first: '"v"', knowsRanges })
    expect(await read).toBe(content)
    expect(ranges).toEqual([undefined, 'bytes=4-9'])
  })

  test('fails in another version, and where versions are not told apart', async () => {
    const changed = await readBroken({ first: '"v"', later: '"w"' })
    await expect(changed.read).rejects.toMatchObject({ rawMessage: "Artifact 'k' changed while it was read" })
    for (const first of [undefined, 'W/"v"']) {
      const { read, ranges } = await readBroken({ first })
      await expect(read).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
      expect(ranges).toHaveLength(1)
    }
  })
})
