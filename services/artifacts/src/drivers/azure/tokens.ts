import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { MlflowError } from '@millrace/kit/errors'
import type { HttpSettings } from '../http-agents.ts'
import type { AzureIdentityConfig } from './identity-config.ts'

/** A token is renewed while it still has this long. */
const RENEWAL_MS = 5 * 60_000
const FETCH_TIMEOUT_MS = 30_000
/** Of a token that doesn't say when it ends: `@azure/identity` reads only one of the two fields that managed identities may send. */
const LIFE_MS_ASSUMED = RENEWAL_MS + 60_000

export interface TokenJob {
  identity: AzureIdentityConfig
  http: HttpSettings
}

/** What a thread for one token says at its end. */
export type TokenOutcome =
  | { kind: 'token'; token: string; expiresTime: number }
  /** @param by what should have given one. */
  | { kind: 'refused'; by: string; reason: string }
  | { kind: 'none'; asked: string[] }

/** A token for all of Azure's storage accounts, which is renewed in time. */
export class TokenSource {
  readonly #job: TokenJob
  #current: { token: string; expiresTime: number } | undefined
  #fetching: Promise<{ token: string; expiresTime: number }> | undefined

  constructor(job: TokenJob) {
    this.#job = job
  }

  async token(): Promise<string> {
    const current = this.#current
    if (current && current.expiresTime - Date.now() > RENEWAL_MS) return current.token
    // Shared by everybody who asks meanwhile, so no single caller's signal ends it.
    this.#fetching ??= fetchToken(this.#job).finally(() => {
      this.#fetching = undefined
    })
    try {
      this.#current = await this.#fetching
      return this.#current.token
    } catch (error) {
      if (!current || current.expiresTime <= Date.now()) throw error
      return current.token
    }
  }

  /** That token was refused, so the next one is another one. */
  forget(refused: string): void {
    if (this.#current?.token === refused) this.#current = undefined
  }
}

/**
 * Asks for a token on a thread of its own, once an hour or so. `@azure/identity` finds managed identities by `process.env` and keeps them,
 * with their tokens, in variables of its modules: threads keep the identities of storage profiles apart, and a new one holds no token that
 * was refused. The package also takes a second to load.
 */
async function fetchToken(job: TokenJob): Promise<{ token: string; expiresTime: number }> {
  const worker = new Worker(new URL('./token-worker.ts', import.meta.url), { workerData: job })
  try {
    const [outcome] = (await once(worker, 'message', { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) })) as [TokenOutcome]
    if (outcome.kind === 'token') {
      const { token, expiresTime } = outcome
      return { token, expiresTime: Number.isFinite(expiresTime) ? expiresTime : Date.now() + LIFE_MS_ASSUMED }
    }
    if (outcome.kind === 'none') throw noCredentials(outcome.asked)
    throw noToken(outcome.by, new Error(outcome.reason))
  } catch (error) {
    throw error instanceof MlflowError ? error : noToken('credentials', error)
  } finally {
    await worker.terminate()
  }
}

const noToken = (by: string, cause: unknown) => new MlflowError('UNAUTHENTICATED', `Azure gave the server no token by its ${by}`, { cause })

const noCredentials = (asked: readonly string[]) =>
  new MlflowError(
    'UNAUTHENTICATED',
    `The server has no credentials for Azure: neither a connection string, an account key nor a ${asked.join(', ')}`,
  )
