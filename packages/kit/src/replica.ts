import { get as getHttp, type IncomingMessage } from 'node:http'
import { get as getHttps } from 'node:https'
import type { Transport } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { ReplicaSessions } from './replica-sessions.ts'

const CALL_TIMEOUT_MS = 120_000
const MESSAGE_BYTES_MAX = 256 * 1024 * 1024
/** A replica that refused a connection is passed over for this long, unless all of them did. */
const AVOID_MS = 2_000

/** One process of a service, as another service calls it. */
export class Replica implements Disposable {
  readonly url: string
  readonly sessions: ReplicaSessions
  readonly transport: Transport
  #avoidUntil = 0

  /** @param changed is told when the replica falls silent and when it is heard again. */
  constructor(url: string, changed: (isSilent: boolean) => void) {
    this.url = url
    this.sessions = new ReplicaSessions(url, isSilent => {
      if (!isSilent) this.#avoidUntil = 0
      changed(isSilent)
    })
    this.transport = createConnectTransport({
      baseUrl: url,
      httpVersion: '2',
      sessionManager: this.sessions,
      defaultTimeoutMs: CALL_TIMEOUT_MS,
      acceptCompression: [],
      readMaxBytes: MESSAGE_BYTES_MAX,
      writeMaxBytes: MESSAGE_BYTES_MAX,
      useBinaryFormat: true,
    })
  }

  /** Passes it over for a while. */
  avoid(): void {
    this.#avoidUntil = performance.now() + AVOID_MS
  }

  isAvoided(now: number): boolean {
    return this.#avoidUntil > now
  }

  /** Asks over a connection of its own. @throws when it doesn't say that it is ready, or when `signal` ends the wait. */
  async checkReady(signal: AbortSignal): Promise<void> {
    if (this.sessions.isSilent) throw new Error(`${this.url} gives no sign of life`)
    const { statusCode } = await ask(`${this.url}/ready`, signal)
    if (statusCode !== 200) throw new Error(`${this.url} answers ${statusCode}`)
  }

  [Symbol.dispose](): void {
    this.sessions[Symbol.dispose]()
  }
}

function ask(url: string, signal: AbortSignal): Promise<IncomingMessage> {
  const get = url.startsWith('https:') ? getHttps : getHttp
  return new Promise((resolve, reject) => {
    get(url, { agent: false, signal }, response => {
      response.on('error', reject)
      response.resume()
      resolve(response)
    }).on('error', reject)
  })
}
