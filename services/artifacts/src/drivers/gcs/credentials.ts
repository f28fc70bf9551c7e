import { access, readFile } from 'node:fs/promises'
import { MlflowError } from '@millrace/kit/errors'
import { Compute, GoogleAuth, gcpMetadata } from 'google-auth-library'
import { type HttpCaller, textOf } from '../http-call.ts'
import { silentStore } from '../transport-errors.ts'
import type { GcsConfig } from './config.ts'

/** Of IAM too, which signs where there is no key. */
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const TOKEN_TIMEOUT_MS_MAX = 30_000
const TOKEN_BYTES_MAX = 1024 * 1024
/** How often the store's refusal may make us ask for a new token. */
const RENEW_INTERVAL_MS_MIN = 1_000

/** Application default credentials: the configured file, gcloud's, the metadata server; else anonymous ones. */
export class Credentials {
  readonly #config: GcsConfig
  readonly #caller: HttpCaller
  #auth: GoogleAuth | undefined
  #renewing: Promise<void> | undefined
  #renewedAtMs = Number.NEGATIVE_INFINITY

  private constructor(config: GcsConfig, caller: HttpCaller, auth: GoogleAuth | undefined) {
    this.#config = config
    this.#caller = caller
    this.#auth = auth
  }

  static async open(config: GcsConfig, caller: HttpCaller): Promise<Credentials> {
    return new Credentials(config, caller, await bounded(config, () => findAuth(config, caller)))
  }

  /** What the SDK signs with. Absent for anonymous and personal credentials, which can't sign. */
  async signing(): Promise<GoogleAuth | undefined> {
    const auth = this.#auth
    return auth && (await bounded(this.#config, () => auth.getCredentials())).client_email ? auth : undefined
  }

  /** What a request carries; nothing for an anonymous one. */
  async headers(url: string): Promise<Record<string, string>> {
    const auth = this.#auth
    if (!auth || this.#config.emulated) return {}
    const headers = await bounded(this.#config, () => auth.getRequestHeaders(url))
    return Object.fromEntries(headers.entries())
  }

  /** Gets a new token after the store refused what a request carried. False when there is no other. */
  async renew(url: string, refused: Record<string, string>): Promise<boolean> {
    const asked = this.#auth
    const { authorization } = await this.headers(url)
    if (authorization !== refused.authorization || asked !== this.#auth) return true
    if (!this.#renewing) {
      if (!authorization || performance.now() - this.#renewedAtMs < RENEW_INTERVAL_MS_MIN) return false
      this.#renewing = this.#reopen().finally(() => {
        this.#renewing = undefined
      })
    }
    await this.#renewing
    return true
  }

  /** The library can't drop the token of every kind of credentials; credentials opened again have none yet. */
  async #reopen(): Promise<void> {
    this.#renewedAtMs = performance.now()
    this.#auth = (await bounded(this.#config, () => findAuth(this.#config, this.#caller))) ?? this.#auth
  }
}

/** By the profile's settings: left alone, the library would look into the environment. */
async function findAuth(config: GcsConfig, caller: HttpCaller): Promise<GoogleAuth | undefined> {
  const { credentialsFile, gcloudFile, emulated, metadataServer } = config
  const file = credentialsFile ?? ((await isThere(gcloudFile)) ? gcloudFile : undefined)
  if (!file && (emulated || !metadataServer || !(await gcpMetadata.isAvailable()))) return undefined
  const clientOptions = { transporterOptions: { fetchImplementation: fetchBy(caller) } }
  const auth = new GoogleAuth({ scopes: SCOPE, clientOptions, authClient: file ? undefined : new Compute({ scopes: [SCOPE] }) })
  // The constructor's options for this write warnings, for files that come from others than the operator.
  if (file) auth.jsonContent = JSON.parse(await readFile(file, 'utf8'))
  // A service account makes its token by itself: no request to a token service, which may be unreachable.
  auth.useJWTAccessWithScope = true
  await auth.getClient()
  return auth
}

/** Token services are called as the store is: within the same limits, through the same proxies. */
function fetchBy(caller: HttpCaller): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init)
    const headers = Object.fromEntries(request.headers)
    const body = request.body ? Buffer.from(await request.arrayBuffer()) : undefined
    const response = await caller.send({ method: request.method, url: request.url, headers, body, signal: request.signal })
    const text = await textOf(response, TOKEN_BYTES_MAX)
    return new Response(text, { status: response.statusCode, headers: { 'Content-Type': response.headers['content-type'] ?? '' } })
  }
}

const isThere = (file: string | undefined) =>
  file === undefined
    ? false
    : access(file).then(
        () => true,
        () => false,
      )

/** Calls of Google's library, whose own limits are longer and whose errors quote tokens. */
async function bounded<T>({ timeoutMs }: GcsConfig, call: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(silentStore('no token in time')), Math.min(timeoutMs, TOKEN_TIMEOUT_MS_MAX))
  })
  try {
    return await Promise.race([call(), limit])
  } catch (error) {
    throw tokenError(error)
  } finally {
    clearTimeout(timer)
  }
}

/** Only what says what to do about it, without the request that the library keeps with its tokens. */
function tokenError(error: unknown): Error {
  const { code, status, response } = (error ?? {}) as { code?: unknown; status?: unknown; response?: { status?: unknown } }
  const answered = Number(response?.status ?? status)
  if (answered >= 500 || answered === 429) return Object.assign(new Error('the token service is busy'), { code: 'EAI_AGAIN' })
  if (typeof code === 'string' && /^E[A-Z_]+$/.test(code)) return Object.assign(new Error('no token could be had'), { code })
  return new MlflowError('UNAUTHENTICATED', "Google refused the server's credentials for the artifact store")
}
