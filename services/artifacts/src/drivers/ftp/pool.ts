import { cancelled, deadlineExceeded, temporarilyUnavailable } from '@millrace/kit/errors'
import { Client } from 'basic-ftp'
import { type Loan, LoanPool } from '../loan-pool.ts'
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
const LISTING_BYTES_MAX = 64 * 1024 * 1024

/** A control connection for one caller; it does one thing at a time. */
export interface Lease {
  readonly client: Client
  /** Whether others had it before, so that it may be dead without anybody having noticed. */
  readonly isKept: boolean
  /** Gives it back, or forgets it when it is closed. Once is enough. */
  release(): void
}

interface Connection {
  readonly client: Client
  /** Whether it was lent already. */
  isKept: boolean
  usedAtMs: number
}

/** Control connections to one server as one user, of which there are never more than configured; callers wait their turn. */
export class FtpPool implements Disposable {
  readonly madeFolders = new MadeFolders()
  /** The most connections that there will be. */
  readonly size: number
  readonly #pool: LoanPool<Connection>

  constructor(location: FtpLocation, config: FtpConfig) {
    this.size = config.connectionsMax
    this.#pool = new LoanPool({
      open: () => openConnection(location, config),
      close: ({ client }) => client.close(),
      isAlive,
      isCrowded,
      max: config.connectionsMax,
      waitMs: config.timeoutMs,
      idleMs: IDLE_MS_MAX,
      busy: () => temporarilyUnavailable('All connections to the artifact store are busy'),
      closed: () => temporarilyUnavailable('The artifact store is closed'),
    })
  }

  get isUnused(): boolean {
    return this.#pool.isUnused
  }

  /** @throws TEMPORARILY_UNAVAILABLE when none gets free in time, here or at a server that takes no more. */
  async lease(signal?: AbortSignal, { isNew = false } = {}): Promise<Lease> {
    for (;;) {
      const { resource: connection, release } = await this.#acquire(signal)
      const { client, isKept } = connection
      if (isNew && isKept) {
        release({ isBroken: true })
        continue
      }
      connection.isKept = true
      return {
        client,
        isKept,
        release: () => {
          connection.usedAtMs = performance.now()
          release({ isBroken: client.closed })
        },
      }
    }
  }

  [Symbol.dispose](): void {
    this.#pool[Symbol.dispose]()
  }

  async #acquire(signal?: AbortSignal): Promise<Loan<Connection>> {
    try {
      return await this.#pool.acquire(signal)
    } catch (error) {
      throw signal?.aborted ? cancelled('The transfer was cut off', { cause: error }) : error
    }
  }
}

async function openConnection({ hostname, port, credentials }: FtpLocation, config: FtpConfig): Promise<Connection> {
  const client = new Client(config.timeoutMs, { allowSeparateTransferHost: false, maxListingBytes: LISTING_BYTES_MAX })
  let isLate = false
  const late = setTimeout(() => {
    isLate = true
    client.close()
  }, CONNECT_TIMEOUT_MS)
  const { isSecure, certificates } = config
  try {
    const { user = 'anonymous', password = 'anonymous@' } = credentials ?? {}
    await client.access({ host: hostname, port, user, password, secure: isSecure, secureOptions: { ca: certificates } })
    // The library goes on when the server refuses it, and would then fail with every transfer.
    if (isSecure) await client.send('PROT P')
    return { client, isKept: false, usedAtMs: performance.now() }
  } catch (error) {
    client.close()
    throw isLate ? deadlineExceeded('The artifact store took too long', { cause: error }) : error
  } finally {
    clearTimeout(late)
  }
}

async function isAlive({ client, usedAtMs }: Connection): Promise<boolean> {
  if (client.closed) return false
  if (performance.now() - usedAtMs < UNPROVED_MS_MAX) return true
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
