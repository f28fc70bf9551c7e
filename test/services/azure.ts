import { createHmac, randomBytes, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cacheFolder } from './config.ts'
import { answers, freePort, type Killable, runOk, startKillable, tempFolder } from './process.ts'
import type { Certificates } from './tls.ts'

const AZURITE = 'azurite@3.37.0'
const INSTALL_TIMEOUT_MS = 600_000
/** Azurite saves its tables every five seconds. */
const SAVING_MS = 6_000
const DAY_MS = 86_400_000

export interface AzureServer extends AsyncDisposable, Killable {
  /** Of the account's Blob service, path-style. */
  readonly endpoint: string
  readonly account: string
  readonly accountKey: string
  readonly connectionString: string
  /** Of the account, for everything. */
  readonly sasToken: string
  /** The same until a given time. */
  sasUntil(expiry: Date): string
  /** Calls the Blob service with an account SAS; any status below 300 is success. @param target `container/blob?query`, encoded. */
  call(
    method: string,
    target: string,
    headers?: Record<string, string>,
    body?: string,
  ): Promise<{ headers: IncomingMessage['headers']; text: string }>
}

export interface AzureContainer extends AsyncDisposable {
  readonly name: string
  /** `wasbs://` for the container. */
  readonly uri: string
  /** Names of everything below a prefix, also what users can't see: blobs of nothing but uncommitted blocks, snapshots. */
  everything(prefix: string): Promise<string[]>
  /** Names of blobs. */
  names(): Promise<string[]>
}

/** An empty container of its own. */
export async function createContainer(server: AzureServer): Promise<AzureContainer> {
  const name = `test-${randomBytes(6).toString('hex')}`
  await server.call('PUT', `${name}?restype=container`)
  const list = async (query: string) => {
    const { text } = await server.call('GET', `${name}?restype=container&comp=list${query}`)
    return [...text.matchAll(/<Name>([^<]*)</g)].flatMap(([, found]) => found ?? [])
  }
  return {
    name,
    uri: `wasbs://${name}@${server.account}.blob.core.windows.net`,
    everything: prefix => list(`&include=uncommittedblobs,snapshots&prefix=${encodeURIComponent(prefix)}`),
    names: () => list(''),
    async [Symbol.asyncDispose]() {
      await server.call('DELETE', `${name}?restype=container`)
    },
  }
}

/**
 * Azurite, Microsoft's own emulator of the Blob service: checks shared keys and SAS tokens. With certificates it speaks HTTPS and takes
 * bearer tokens, of which it checks everything but the signature.
 */
export async function startAzurite(certificates?: Certificates): Promise<AzureServer> {
  const main = await installAzurite()
  const folder = await tempFolder('azurite')
  const port = await freePort()
  const account = 'millraceaccount'
  const accountKey = randomBytes(64).toString('base64')
  const secure = certificates ? ['--cert', certificates.certFile, '--key', certificates.keyFile, '--oauth', 'basic'] : []
  const endpoint = `${certificates ? 'https' : 'http'}://127.0.0.1:${port}/${account}`
  const sasUntil = (expiry: Date) => accountSas(account, accountKey, expiry)
  const sasToken = sasUntil(new Date(Date.now() + DAY_MS))
  try {
    const server = await startKillable({
      command: process.execPath,
      args: [main, '--blobHost', '127.0.0.1', '--blobPort', String(port), '--location', '.', '--silent', '--skipApiVersionCheck']
        .concat('--disableTelemetry')
        .concat(secure),
      cwd: folder.path,
      env: { AZURITE_ACCOUNTS: `${account}:${accountKey}`, NODE_OPTIONS: undefined },
      ready: () => (certificates ? accepts(port) : answers(endpoint)),
    })
    return {
      endpoint,
      account,
      accountKey,
      sasToken,
      sasUntil,
      call: caller(endpoint, sasToken, certificates && (await readFile(certificates.caFile, 'utf8'))),
      connectionString: `AccountName=${account};AccountKey=${accountKey};BlobEndpoint=${endpoint}`,
      kill: server.kill,
      begin: server.begin,
      settle: () => sleep(SAVING_MS),
      async [Symbol.asyncDispose]() {
        await server.kill()
        await folder[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await folder[Symbol.asyncDispose]()
    throw error
  }
}

/** A bearer token that is signed by nobody, which is all that Azurite asks for. Each is another one. */
export function bearer(seconds: number): string {
  const now = Math.floor(Date.now() / 1000)
  const times = { iat: now - 60, nbf: now - 60, exp: now + seconds }
  const claims = { aud: 'https://storage.azure.com', iss: 'https://sts.windows.net/tenant/', jti: randomUUID(), ...times }
  const parts = [
    { alg: 'none', typ: 'JWT' },
    { ...claims, oid: 'object', tid: 'tenant' },
  ]
  return `${parts.map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.c2VjcmV0`
}

/** Under .cache on first use: it is bigger than everything that the service itself needs. */
async function installAzurite(): Promise<string> {
  const folder = join(cacheFolder, AZURITE)
  const complete = join(folder, 'complete')
  if (!existsSync(complete)) {
    await mkdir(folder, { recursive: true })
    const script = `test -f "$1/complete" || { npm install --prefix "$1" --no-audit --no-fund --ignore-scripts ${AZURITE} && touch "$1/complete"; }`
    await runOk('flock', [`${folder}.lock`, 'sh', '-c', script, 'sh', folder], { timeoutMs: INSTALL_TIMEOUT_MS })
  }
  return join(folder, 'node_modules/azurite/dist/src/blob/main.js')
}

/** Source: "Create an account SAS" of Azure's storage services. */
function accountSas(account: string, accountKey: string, until: Date): string {
  const expiry = until.toISOString().replace(/\.\d+Z$/, 'Z')
  const [version, permissions, services, types] = ['2021-12-02', 'rwdlac', 'b', 'sco']
  const text = [account, permissions, services, types, '', expiry, '', '', version, '', ''].join('\n')
  const sig = createHmac('sha256', Buffer.from(accountKey, 'base64')).update(text).digest('base64')
  return new URLSearchParams({ sv: version, ss: services, srt: types, sp: permissions, se: expiry, sig }).toString()
}

function caller(endpoint: string, sas: string, ca: string | undefined): AzureServer['call'] {
  return (method, target, headers = {}, body = '') =>
    new Promise((resolve, reject) => {
      const url = `${endpoint}/${target}${target.includes('?') ? '&' : '?'}${sas}`
      const options = { method, headers: { 'content-length': Buffer.byteLength(body), ...headers }, agent: false as const, ca }
      const call = (ca ? requestHttps : requestHttp)(url, options, answer => {
        const chunks: Buffer[] = []
        answer.on('data', chunk => chunks.push(chunk))
        answer.on('error', reject)
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          if ((answer.statusCode ?? 0) < 300) resolve({ headers: answer.headers, text })
          else reject(new Error(`${method} ${target} answered ${answer.statusCode}: ${text}`))
        })
      })
      call.on('error', reject)
      call.end(body)
    })
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => {
      resolve(true)
      socket.destroy()
    })
    socket.once('error', () => resolve(false))
  })
}
