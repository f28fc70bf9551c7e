import { sign as signWithKey } from 'node:crypto'
import { access, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { Compute, type GoogleAuth, GoogleAuth as GoogleAuthClient, gcpMetadata, JWT, UserRefreshClient } from 'google-auth-library'
import type { GcsConfig } from './config.ts'
import { CredentialsFailure, timedOut } from './errors.ts'

/** Signs as a service account, for V4 signed URLs. */
export interface Signer {
  email: string
  /** RSA with SHA-256, in hexadecimal. */
  sign(text: string): Promise<string>
}

export interface Credentials {
  /** What a request carries; nothing for an anonymous one. */
  headers(url: string): Promise<Record<string, string>>
  /** Gets a new token after the store refused what a request carried. False when there is no other. */
  renew(url: string, refused: Record<string, string>): Promise<boolean>
  /** Absent for anonymous and personal credentials, which can't sign. */
  signer?: Signer
}

/** Of IAM too, which signs where there is no key. */
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const TOKEN_TIMEOUT_MS_MAX = 30_000
/** How often the store's refusal may make us ask for a new token. */
const RENEW_INTERVAL_MS_MIN = 1_000

const signAsync = promisify(signWithKey)

/** Application default credentials: the configured file, gcloud's, the metadata server; else anonymous ones. */
export async function openCredentials(config: GcsConfig): Promise<Credentials> {
  const timeoutMs = Math.min(config.timeoutMs, TOKEN_TIMEOUT_MS_MAX)
  const auth = await bounded(timeoutMs, () => defaultAuth(config))
  if (!auth) return { headers: async () => ({}), renew: async () => false }
  let client = await bounded(timeoutMs, () => auth.getClient())
  let renewing: Promise<void> | undefined
  let renewedAt = Number.NEGATIVE_INFINITY
  const headers = async (url: string) => {
    if (config.emulated) return {}
    const given = await bounded(timeoutMs, () => client.getRequestHeaders(url))
    return Object.fromEntries(given.entries())
  }
  // The library has no way to drop the token of every kind of credentials; another client has none yet.
  const reopen = async () => {
    renewedAt = performance.now()
    client = await bounded(timeoutMs, async () => ((await defaultAuth(config)) ?? auth).getClient())
  }
  return {
    headers,
    async renew(url, refused) {
      const asked = client
      const { authorization } = await headers(url)
      if (authorization !== refused.authorization || asked !== client) return true
      if (!renewing) {
        if (config.emulated || performance.now() - renewedAt < RENEW_INTERVAL_MS_MIN) return false
        renewing = reopen().finally(() => {
          renewing = undefined
        })
      }
      await renewing
      return true
    },
    signer: await findSigner(auth, timeoutMs),
  }
}

async function defaultAuth({ credentialsFile, gcloudFile, emulated, metadataServer }: GcsConfig): Promise<GoogleAuth | undefined> {
  const file = credentialsFile ?? ((await isThere(gcloudFile)) ? gcloudFile : undefined)
  if (file) return authOf(file)
  if (emulated || !metadataServer || !(await gcpMetadata.isAvailable())) return undefined
  return new GoogleAuthClient({ authClient: new Compute({ scopes: [SCOPE] }) })
}

async function authOf(file: string): Promise<GoogleAuth> {
  const { type, ...content } = JSON.parse(await readFile(file, 'utf8')) as { type: string } & Record<string, string>
  switch (type) {
    case 'service_account': {
      const authClient = new JWT({ email: content.client_email, key: content.private_key, keyId: content.private_key_id, scopes: [SCOPE] })
      // A token of its own making: no request to a token service, which may be unreachable.
      authClient.useJWTAccessWithScope = true
      return new GoogleAuthClient({ authClient })
    }
    case 'authorized_user': {
      const { client_id: clientId, client_secret: clientSecret, refresh_token: refreshToken } = content
      return new GoogleAuthClient({ authClient: new UserRefreshClient({ clientId, clientSecret, refreshToken }) })
    }
    default:
      return new GoogleAuthClient({ keyFilename: file, scopes: [SCOPE] })
  }
}

async function findSigner(auth: GoogleAuth, timeoutMs: number): Promise<Signer | undefined> {
  const client = await auth.getClient()
  if (client instanceof JWT && client.key && client.email) {
    const { key, email } = client
    return { email, sign: async text => (await signAsync('RSA-SHA256', Buffer.from(text), key)).toString('hex') }
  }
  if (client instanceof UserRefreshClient) return undefined
  const { client_email: email } = await bounded(timeoutMs, () => auth.getCredentials())
  if (!email) return undefined
  return { email, sign: async text => Buffer.from(await bounded(timeoutMs, () => auth.sign(text)), 'base64').toString('hex') }
}

const isThere = (file: string | undefined) =>
  file === undefined
    ? false
    : access(file).then(
        () => true,
        () => false,
      )

/** Calls of Google's library, whose own limits are longer and whose errors quote tokens. */
async function bounded<T>(timeoutMs: number, call: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(timedOut()), timeoutMs)
  })
  try {
    return await Promise.race([call(), limit])
  } catch (error) {
    throw passingOn(error)
  } finally {
    clearTimeout(timer)
  }
}

/** Only what says what to do about it, without the request that the library keeps with its tokens. */
function passingOn(error: unknown): Error {
  const { code, status, response } = (error ?? {}) as { code?: unknown; status?: unknown; response?: { status?: unknown } }
  const answered = Number(response?.status ?? status)
  if (answered >= 500 || answered === 429) return Object.assign(new Error('the token service is busy'), { code: 'EAI_AGAIN' })
  if (typeof code === 'string' && /^E[A-Z_]+$/.test(code)) return Object.assign(new Error('no token could be had'), { code })
  return new CredentialsFailure(`no token could be had${Number.isNaN(answered) ? '' : ` (${answered})`}`)
}
