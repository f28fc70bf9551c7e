import { parentPort, workerData } from 'node:worker_threads'
import { HttpCaller } from '../http-call.ts'
import type { TokenJob, TokenOutcome } from './tokens.ts'

/** The thread that asks for one token: the first of the configured credentials that has one. */
const SCOPE = 'https://storage.azure.com/.default'

const { identity, http } = workerData as TokenJob
const { managedIdentity, imdsHost } = identity
// The package reads these by itself; it is to find the settings of its storage profile, and no others.
for (const name of Object.keys(process.env)) {
  if (/^(AZURE_(?!CONFIG_DIR$)|IDENTITY_|IMDS_|MSI_|DEFAULT_IDENTITY_)/i.test(name)) delete process.env[name]
}
if (managedIdentity) Object.assign(process.env, { IDENTITY_ENDPOINT: managedIdentity.endpoint, IDENTITY_HEADER: managedIdentity.header })
if (imdsHost) process.env.AZURE_POD_IDENTITY_AUTHORITY_HOST = imdsHost

const { credentialsOf } = await import('./credentials.ts')
using caller = new HttpCaller(http)
parentPort?.postMessage(await firstToken())

async function firstToken(): Promise<TokenOutcome> {
  const credentials = credentialsOf(identity, caller)
  for (const { name, isCertain, credential } of credentials) {
    try {
      const token = await credential.getToken(SCOPE)
      if (token) return { kind: 'token', token: token.token, expiresTime: token.expiresOnTimestamp }
    } catch (error) {
      if (isCertain || (error as Error).name !== 'CredentialUnavailableError') return { kind: 'refused', by: name, reason: reasonOf(error) }
    }
  }
  return { kind: 'none', asked: credentials.map(({ name }) => name) }
}

/** Neither the URL nor what the service said of the secret. */
function reasonOf(error: unknown): string {
  const { name, cause } = error as Error
  return (cause as { errorCode?: string } | undefined)?.errorCode ?? name
}
