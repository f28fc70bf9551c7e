import { lookup } from 'node:dns/promises'
import { IncomingMessage } from 'node:http'
import { internalError } from '@millrace/kit/errors'
import type { HttpCall } from '../http-call.ts'
import { retrying } from '../retrying.ts'
import { isLost, isUnreachable } from '../system-errors.ts'
import { isStandby, isUnreachableOrSilent } from './errors.ts'
import type { Wire } from './exchange.ts'
import type { Identity } from './identity.ts'

const ROUNDS_MAX = 4
const FIRST_DELAY_MS = 500
const DATA_NODES_TRIED_MAX = 4

export interface Call {
  method: HttpCall['method']
  op: string
  /** Absolute, in the name space. */
  path: string
  query?: Readonly<Record<string, string | number | boolean | undefined>>
  signal?: AbortSignal
}

/** Where a data node, or the gateway itself, does the rest of a call. */
export interface Redirection {
  url: URL
  headers: Record<string, string>
}

/**
 * The endpoints of one cluster, of which one answers at a time. Every call may be repeated: each is asked of the next endpoint when one
 * is on standby or can't be reached, and for a few seconds of all of them, since name nodes take their time to change places.
 */
export class NameNodes {
  readonly wire: Wire
  readonly #endpoints: readonly URL[]
  readonly #identity: Identity
  #active = 0

  constructor(wire: Wire, endpoints: readonly string[], identity: Identity) {
    this.wire = wire
    this.#endpoints = endpoints.map(url => new URL(url))
    this.#identity = identity
  }

  /** The answer's JSON; undefined when it is empty. */
  async ask<T>(call: Call): Promise<T | undefined> {
    return this.#anywhere(call, async endpoint => {
      const text = await this.wire.textOf(await this.#once(endpoint, call))
      return text.trim() === '' ? undefined : (JSON.parse(text) as T)
    })
  }

  /**
   * Has `action` do the second step of a call that moves bytes. A place that turns out to be of no use, as `action` says by an
   * UnusedDataNode, is left out of the next attempt.
   * @param direct for the response of an endpoint that doesn't redirect.
   */
  async throughDataNode<T>(
    call: Call,
    action: (to: Redirection) => Promise<T>,
    direct: (response: IncomingMessage) => T = refuse,
  ): Promise<T> {
    const excluded = new Set<string>()
    const isTransient = (error: unknown) => error instanceof UnusedDataNode
    const options = { isTransient, attemptsMax: DATA_NODES_TRIED_MAX, delayMs: () => 0, signal: call.signal }
    try {
      return await retrying(options, async () => {
        const to = await this.#locate({ ...call, query: { ...call.query, excludedatanodes: [...excluded].join(',') || undefined } })
        if (to instanceof IncomingMessage) return direct(to)
        try {
          return await action(to)
        } catch (error) {
          if (isTransient(error)) for (const name of await namesOf(to.url.hostname)) excluded.add(name)
          throw error
        }
      })
    } catch (error) {
      throw error instanceof UnusedDataNode ? error.cause : error
    }
  }

  /** The bytes of a call that reads; an endpoint may send them itself. */
  async open({ method, signal, ...call }: Call): Promise<IncomingMessage> {
    const openAt = async ({ url, headers }: Redirection) => {
      try {
        return await this.wire.send({ method, url: url.href, headers, signal })
      } catch (error) {
        throw isUnreachable(error) ? new UnusedDataNode('not reached', { cause: error }) : error
      }
    }
    return this.throughDataNode({ method, signal, ...call }, openAt, response => response)
  }

  async #locate(call: Call): Promise<Redirection | IncomingMessage> {
    return this.#anywhere(call, async endpoint => {
      const answer = await this.#once(endpoint, call)
      const { location } = answer.headers
      if (answer.statusCode !== 307 || location === undefined) return answer
      answer.resume()
      const url = new URL(location, endpoint)
      url.pathname = url.pathname.replace(/(?<=\/webhdfs\/v1)\/.*$/s, encodedPath(call.path))
      if (url.protocol !== endpoint.protocol && url.protocol !== 'https:') {
        throw internalError('The artifact store redirected the server from TLS to a plain connection')
      }
      return { url, headers: url.origin === endpoint.origin ? await this.#identity.headers(endpoint, false, call.signal) : {} }
    })
  }

  async #anywhere<T>(call: Call, action: (endpoint: URL) => Promise<T>): Promise<T> {
    const count = this.#endpoints.length
    const endsAt = performance.now() + this.wire.timeoutMs
    const isTransient = (error: unknown) => this.#isElsewhere(error) && performance.now() < endsAt
    const delayMs = (attempt: number) => (attempt % count === 0 ? FIRST_DELAY_MS * 2 ** (attempt / count - 1) : 0)
    return retrying({ isTransient, attemptsMax: ROUNDS_MAX * count, delayMs, signal: call.signal }, async () => {
      const index = this.#active
      try {
        return await action(this.#endpoints[index] as URL)
      } catch (error) {
        if (!call.signal?.aborted && this.#isElsewhere(error) && this.#active === index) this.#active = (index + 1) % count
        throw error
      }
    })
  }

  #isElsewhere(error: unknown): boolean {
    return isStandby(error) || (this.#endpoints.length > 1 && isUnreachableOrSilent(error))
  }

  async #once(endpoint: URL, { method, signal, ...call }: Call): Promise<IncomingMessage> {
    const url = this.#urlOf(endpoint, call).href
    for (let refused = false; ; refused = true) {
      const headers = await this.#identity.headers(endpoint, refused, signal)
      const response = await retrying({ isTransient: isLost, attemptsMax: 2, delayMs: () => 0, signal }, () =>
        this.wire.respond({ method, url, headers, signal }),
      )
      this.#identity.accept(endpoint, response.headers['set-cookie'])
      if (response.statusCode !== 401 || refused || !this.#identity.isRenewable) return this.wire.check(response)
      response.resume()
    }
  }

  #urlOf(endpoint: URL, { op, path, query = {} }: Pick<Call, 'op' | 'path' | 'query'>): URL {
    const base = endpoint.href.replace(/\/+$/, '')
    const url = new URL(`${base}/webhdfs/v1${encodedPath(path)}`)
    url.searchParams.set('op', op)
    for (const [name, value] of Object.entries({ ...this.#identity.query, ...query })) {
      if (value !== undefined) url.searchParams.set(name, String(value))
    }
    return url
  }
}

/** Also of redirections, in which Java writes names that Unicode has two forms of in the other one. */
function encodedPath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

/** A place where nothing was sent to, so that another one may be tried. */
export class UnusedDataNode extends Error {}

function refuse(): never {
  throw internalError('The artifact store does not redirect as WebHDFS does')
}

/** Name nodes know data nodes by their addresses, and name them by their hosts. */
async function namesOf(hostname: string): Promise<string[]> {
  const found = await lookup(hostname, { all: true }).catch(() => [])
  return [hostname, ...found.map(({ address }) => address)]
}
