import { lookup } from 'node:dns/promises'
import { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { internalError } from '@millrace/kit/errors'
import { isLost } from '../system-errors.ts'
import { isStandby, isUnreachable, SilentStore } from './errors.ts'
import type { Exchange, Wire } from './exchange.ts'
import type { Identity } from './identity.ts'

const ROUNDS_MAX = 4
const FIRST_DELAY_MS = 500
const DATA_NODES_TRIED_MAX = 4

export interface Call {
  method: Exchange['method']
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
   * Has `action` do the second step of a call that moves bytes. A place that can't be reached, as `action` says by failing before any
   * byte of a body was taken, is left out of the next attempt.
   */
  async throughDataNode<T>(call: Call, action: (to: Redirection) => Promise<T>): Promise<T> {
    const excluded = new Set<string>()
    for (let attempt = 1; ; attempt++) {
      const to = await this.#locate({ ...call, query: { ...call.query, excludedatanodes: [...excluded].join(',') || undefined } })
      if (to instanceof IncomingMessage) throw internalError('The artifact store does not redirect as WebHDFS does')
      try {
        return await action(to)
      } catch (error) {
        if (attempt === DATA_NODES_TRIED_MAX || call.signal?.aborted || !(error instanceof UnusedDataNode)) throw causeOf(error)
        for (const name of await namesOf(to.url.hostname)) excluded.add(name)
      }
    }
  }

  /** As `throughDataNode`; an endpoint that sends the bytes itself has its answer returned. */
  async open(call: Call): Promise<IncomingMessage> {
    const excluded = new Set<string>()
    for (let attempt = 1; ; attempt++) {
      const to = await this.#locate({ ...call, query: { ...call.query, excludedatanodes: [...excluded].join(',') || undefined } })
      if (to instanceof IncomingMessage) return to
      try {
        return await this.wire.check(await this.wire.send(to.url, { method: call.method, headers: to.headers, signal: call.signal }))
      } catch (error) {
        if (attempt === DATA_NODES_TRIED_MAX || call.signal?.aborted || !isUnreachable(error)) throw error
        for (const name of await namesOf(to.url.hostname)) excluded.add(name)
      }
    }
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
    const begun = performance.now()
    for (let attempt = 1; ; attempt++) {
      const index = this.#active
      try {
        return await action(this.#endpoints[index] as URL)
      } catch (error) {
        if (call.signal?.aborted || !this.#isElsewhere(error)) throw error
        if (this.#active === index) this.#active = (index + 1) % count
        if (attempt === ROUNDS_MAX * count || performance.now() - begun >= this.wire.timeoutMs) throw error
      }
      if (attempt % count === 0) await sleep(FIRST_DELAY_MS * 2 ** (attempt / count - 1), undefined, { signal: call.signal })
    }
  }

  #isElsewhere(error: unknown): boolean {
    if (isStandby(error)) return true
    return this.#endpoints.length > 1 && (isUnreachable(error) || error instanceof SilentStore)
  }

  async #once(endpoint: URL, call: Call): Promise<IncomingMessage> {
    const { method, signal } = call
    const url = this.#urlOf(endpoint, call)
    for (let refused = false; ; refused = true) {
      const headers = await this.#identity.headers(endpoint, refused, signal)
      const answer = await this.#send(url, { method, headers, signal })
      this.#identity.accept(endpoint, answer.headers['set-cookie'])
      if (answer.statusCode !== 401 || refused || !this.#identity.isRenewable) return this.wire.check(answer)
      answer.resume()
    }
  }

  /** Once more when the connection was one that the endpoint had closed meanwhile. */
  async #send(url: URL, exchange: Exchange): Promise<IncomingMessage> {
    try {
      return await this.wire.send(url, exchange)
    } catch (error) {
      if (exchange.signal?.aborted || !isLost(error)) throw error
      return this.wire.send(url, exchange)
    }
  }

  #urlOf(endpoint: URL, { op, path, query = {} }: Call): URL {
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

const causeOf = (error: unknown) => (error instanceof UnusedDataNode ? error.cause : error)

/** Name nodes know data nodes by their addresses, and name them by their hosts. */
async function namesOf(hostname: string): Promise<string[]> {
  const found = await lookup(hostname, { all: true }).catch(() => [])
  return [hostname, ...found.map(({ address }) => address)]
}
