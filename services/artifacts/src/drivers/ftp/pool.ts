import { cancelled, deadlineExceeded, temporarilyUnavailable } from '@millrace/kit/errors'
import { Client } from 'basic-ftp'
import { MadeFolders } from '../made-folders.ts'
import type { FtpConfig } from './config.ts'
import { isCrowded } from './errors.ts'
import type { FtpLocation } from './location.ts'

const CONNECT_TIMEOUT_MS = 10_000
/** Servers end sessions that are idle for minutes. */
const IDLE_MS_MAX = 60_000
/** A session that was idle for longer is asked whether it still lives before it is used. */
const UNPROVED_MS_MAX = 500
const PROBE_TIMEOUT_MS = 5_000
/** Until a server that takes no more connections is asked again. */
const CROWDED_PAUSE_MS = 400
const LISTING_BYTES_MAX = 64 * 1024 * 1024

/** A control connection for one caller; it does one thing at a time. */
export interface Lease {
  readonly client: Client
  /** Whether others had it before, so that it may be dead without anybody having noticed. */
  readonly isKept: boolean
  /** Gives it back, or forgets it when it is closed. Once is enough. */
  release(): void
}

interface Idle {
  client: Client
  since: number
}

/** Control connections to one server as one user, of which there are never more than configured; callers wait their turn. */
export class FtpPool implements Disposable {
  readonly madeFolders = new MadeFolders()
  readonly #location: FtpLocation
  readonly #config: FtpConfig
  readonly #idle: Idle[] = []
  readonly #waiting: (() => void)[] = []
  readonly #clients = new Set<Client>()
  #opened = 0
  #reaper: NodeJS.Timeout | undefined

  constructor(location: FtpLocation, config: FtpConfig) {
    this.#location = location
    this.#config = config
  }

  /** @throws TEMPORARILY_UNAVAILABLE when none gets free in time, here or at a server that takes no more. */
  async lease(signal?: AbortSignal, options: { isNew?: boolean } = {}): Promise<Lease> {
    const until = performance.now() + this.#config.timeoutMs
    for (;;) {
      if (signal?.aborted) throw cancelled('The transfer was cut off', { cause: signal.reason })
      const kept = options.isNew ? undefined : await this.#takeIdle()
      if (kept) return this.#leaseOf(kept, true)
      let refusal: unknown
      if (this.#opened < this.#config.connectionsMax) {
        try {
          return this.#leaseOf(await this.#open(signal), false)
        } catch (error) {
          if (!isCrowded(error)) throw error
          refusal = error
        }
      }
      const idle = this.#idle.shift()
      if (idle) {
        this.#drop(idle.client)
        continue
      }
      const leftMs = until - performance.now()
      if (leftMs <= 0) throw temporarilyUnavailable('All connections to the artifact store are busy', { cause: refusal })
      await this.#turn(refusal ? Math.min(leftMs, CROWDED_PAUSE_MS * (1 + Math.random())) : leftMs, signal)
    }
  }

  #leaseOf(client: Client, isKept: boolean): Lease {
    let isHeld = true
    return {
      client,
      isKept,
      release: () => {
        if (!isHeld) return
        isHeld = false
        if (client.closed) return this.#drop(client)
        this.#idle.push({ client, since: performance.now() })
        this.#reaper ??= setInterval(() => this.#reap(), IDLE_MS_MAX).unref()
        this.#waiting.shift()?.()
      },
    }
  }

  async #takeIdle(): Promise<Client | undefined> {
    for (;;) {
      const idle = this.#idle.pop()
      if (!idle) return undefined
      const { client, since } = idle
      if (!client.closed && (performance.now() - since < UNPROVED_MS_MAX || (await isAlive(client)))) return client
      this.#drop(client)
    }
  }

  async #open(signal?: AbortSignal): Promise<Client> {
    this.#opened++
    const client = new Client(this.#config.timeoutMs, { allowSeparateTransferHost: false, maxListingBytes: LISTING_BYTES_MAX })
    this.#clients.add(client)
    const limit = AbortSignal.timeout(CONNECT_TIMEOUT_MS)
    const stop = () => client.close()
    limit.addEventListener('abort', stop, { once: true })
    signal?.addEventListener('abort', stop, { once: true })
    const { hostname, port, credentials } = this.#location
    const { isSecure, certificates } = this.#config
    try {
      const { user = 'anonymous', password = 'anonymous@' } = credentials ?? {}
      await client.access({ host: hostname, port, user, password, secure: isSecure, secureOptions: { ca: certificates } })
      // The library goes on when the server refuses it, and would then fail with every transfer.
      if (isSecure) await client.send('PROT P')
      return client
    } catch (error) {
      this.#drop(client, { makesRoom: !isCrowded(error) })
      if (signal?.aborted) throw cancelled('The transfer was cut off', { cause: error })
      throw limit.aborted ? deadlineExceeded('The artifact store took too long', { cause: error }) : error
    } finally {
      limit.removeEventListener('abort', stop)
      signal?.removeEventListener('abort', stop)
    }
  }

  /** Resolves when it is the caller's turn, or the time is over. */
  #turn(waitMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        const at = this.#waiting.indexOf(next)
        if (at >= 0) this.#waiting.splice(at, 1)
        settle()
      }
      const aborted = () => {
        leave()
        reject(cancelled('The transfer was cut off'))
      }
      const late = setTimeout(() => {
        leave()
        resolve()
      }, waitMs)
      const settle = () => {
        clearTimeout(late)
        signal?.removeEventListener('abort', aborted)
      }
      const next = () => {
        settle()
        resolve()
      }
      signal?.addEventListener('abort', aborted, { once: true })
      this.#waiting.push(next)
    })
  }

  /** @param makesRoom false for a connection that the server had no room for: whoever waits would be refused as well. */
  #drop(client: Client, { makesRoom } = { makesRoom: true }): void {
    client.close()
    if (!this.#clients.delete(client)) return
    this.#opened--
    if (makesRoom) this.#waiting.shift()?.()
  }

  #reap(): void {
    const oldest = performance.now() - IDLE_MS_MAX
    while (this.#idle[0] && this.#idle[0].since < oldest) {
      const idle = this.#idle.shift()
      if (idle) this.#drop(idle.client)
    }
    if (this.#idle.length > 0) return
    clearInterval(this.#reaper)
    this.#reaper = undefined
  }

  /** The most connections that there will be. */
  get size(): number {
    return this.#config.connectionsMax
  }

  get isUnused(): boolean {
    return this.#opened === 0 && this.#waiting.length === 0
  }

  [Symbol.dispose](): void {
    clearInterval(this.#reaper)
    for (const client of this.#clients) this.#drop(client)
  }
}

async function isAlive(client: Client): Promise<boolean> {
  const late = setTimeout(() => client.close(), PROBE_TIMEOUT_MS)
  try {
    await client.send('NOOP')
    return true
  } catch {
    return false
  } finally {
    clearTimeout(late)
  }
}
