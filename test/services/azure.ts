import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { cacheFolder } from './config.ts'
import { answers, freePort, runOk, start, tempFolder } from './process.ts'
import type { Certificates } from './tls.ts'

const AZURITE = 'azurite@3.37.0'
const INSTALL_TIMEOUT_MS = 600_000

export interface AzureServer extends AsyncDisposable {
  /** Of the account's Blob service, path-style. */
  readonly endpoint: string
  readonly account: string
  readonly accountKey: string
  readonly connectionString: string
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
  try {
    const server = await start({
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
      connectionString: `AccountName=${account};AccountKey=${accountKey};BlobEndpoint=${endpoint}`,
      async [Symbol.asyncDispose]() {
        await server.end('SIGKILL')
        await folder[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await folder[Symbol.asyncDispose]()
    throw error
  }
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

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => {
      resolve(true)
      socket.destroy()
    })
    socket.once('error', () => resolve(false))
  })
}
