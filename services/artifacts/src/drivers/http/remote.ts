import { randomUUID } from 'node:crypto'
import { invalidState } from '@millrace/kit/errors'
import type { HttpClient } from './client.ts'
import { HttpFailure } from './errors.ts'
import { type HttpLocation, requestPath } from './location.ts'

const ASK_TIMEOUT_MS = 3_000
/** As long as MLflow's clients believe an answer. */
const BELIEVED_MS = 60_000

/**
 * What is known of one other tracking server: what it offers beside bytes (asked of its server-info, nothing while it can't be
 * reached), and that it is another one. For that it is asked to list a folder with a name that only this process knows; if the
 * question comes back as a call of its own driver, the artifacts destination leads to the server itself.
 */
export class Remote {
  multipart = false
  presign = false
  readonly #client: HttpClient
  readonly #location: HttpLocation
  readonly #secret = `.millrace.probe.${randomUUID()}`
  #isTracking = false
  /** A server that answers everything with nothing; also what has no server-info says more. */
  #saysNothing = false
  #isOther = false
  #isSelf = false
  #asking: Promise<void> | undefined
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(client: HttpClient, location: HttpLocation) {
    this.#client = client
    this.#location = location
  }

  /** Resolves when the server has answered, or hasn't in time: then the next call asks again. */
  async known(): Promise<void> {
    if (performance.now() - this.#askedAt < BELIEVED_MS) return
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined
    })
    // Later answers are fetched beside the calls.
    if (!this.#isOther) await this.#asking
  }

  /** @throws INVALID_STATE when the server turned out to be this one. */
  async check(): Promise<void> {
    await this.known()
    if (this.#isSelf) throw leadsBack()
  }

  /**
   * Anything answers 404 to a route that it doesn't have, or `{}` to any; only a tracking server's says that an artifact is absent.
   * @throws INVALID_STATE when nothing says that it is one.
   */
  checkTracking(): void {
    if (!this.#isTracking || this.#saysNothing) throw invalidState('What answers at the artifact location is not a tracking server')
  }

  /** It has listed artifacts, as a tracking server does. */
  listed(): void {
    this.#isTracking = true
  }

  /** @param path what is to be listed. @throws INVALID_STATE when this process asked itself. */
  checkListed(path: string): void {
    if (!path.endsWith(this.#secret)) return
    this.#isSelf = true
    throw leadsBack()
  }

  async #ask(): Promise<void> {
    const signal = AbortSignal.timeout(ASK_TIMEOUT_MS)
    const { prefix } = this.#location
    try {
      if (!this.#isOther) {
        const path = `${requestPath(this.#location, 'artifacts', '')}?path=${this.#secret}`
        const listing = await this.#client.json(this.#location, { method: 'GET', path, signal })
        this.#isOther = true
        this.#isTracking ||= isObject(listing)
      }
      const path = `${prefix}/api/3.0/mlflow/server-info`
      const info = await this.#client.json(this.#location, { method: 'GET', path, signal })
      this.#saysNothing = !isObject(info) || Object.keys(info).length === 0
      if (!isObject(info)) return
      this.multipart = 'multipart_uploads_enabled' in info && info.multipart_uploads_enabled === true
      this.presign = 'multipart_downloads_enabled' in info && info.multipart_downloads_enabled === true
      this.#askedAt = performance.now()
    } catch (error) {
      if (error instanceof HttpFailure && error.errorCode === 'RESOURCE_DOES_NOT_EXIST') this.#isTracking = true
      // Down, slow, or too old for a server-info: the call that follows tells which.
      if (this.#isOther) this.#askedAt = performance.now()
    }
  }
}

/** Every answer of a tracking server is an object, `{}` at least. */
export const isObject = (answer: unknown): answer is object => typeof answer === 'object' && answer !== null && !Array.isArray(answer)

const leadsBack = () => invalidState('The configured artifact location leads back to this server')
