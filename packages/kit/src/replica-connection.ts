import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionRequestOptions,
  connect,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { NotSent } from './replica-failures.ts'

export const TICK_MS = 500
/** Silence of the other side after which it is asked for a sign of life. */
const PING_TICKS = 4
/** Silence after which it counts as dead. An event loop may be busy for seconds, and a tick is a turn of ours: being late counts for nobody. */
const SILENT_TICKS = 10
/** A call that waits for its connection is not sent yet and may go elsewhere sooner. */
const CONNECTING_TICKS = 6
const IDLE_TICKS = 60

/** One HTTP/2 connection to a replica. From its first moment to its last somebody listens to its errors. */
export class ReplicaConnection {
  /** Settles when the other side has told its settings: who is told them is served, and until then nothing is sent. */
  readonly opened: Promise<void>
  readonly #session: ClientHttp2Session
  #isOpen = false
  #streams = 0
  #streamsMax = 0
  #bytesRead = 0
  #quietTicks = 0
  #idleTicks = 0

  /** @param ended is called once, when the connection is closed. */
  constructor(url: string, ended: (connection: ReplicaConnection) => void) {
    const session = connect(url)
    this.#session = session
    this.opened = new Promise((resolve, reject) => {
      let failure: Error | undefined
      session.on('error', error => {
        failure = error
      })
      session.on('remoteSettings', ({ maxConcurrentStreams = Number.POSITIVE_INFINITY }) => {
        this.#isOpen = true
        this.#streamsMax = maxConcurrentStreams
        resolve()
      })
      session.once('close', () => {
        ended(this)
        reject(new NotSent(`no connection to ${url}`, { cause: failure }))
      })
    })
    this.opened.catch(() => undefined)
  }

  /** Whether another call may go over it: after a GOAWAY none may, while those in flight go on. */
  get hasRoom(): boolean {
    return this.#isOpen && !this.#session.closed && !this.#session.destroyed && this.#streams < this.#streamsMax
  }

  get isQuiet(): boolean {
    return this.#quietTicks >= PING_TICKS
  }

  /** @throws when the connection ends at this moment: nothing was sent. */
  request(headers: OutgoingHttpHeaders, options: Omit<ClientSessionRequestOptions, 'signal'>): ClientHttp2Stream {
    const stream = this.#session.request(headers, options)
    this.#streams++
    stream.on('error', () => undefined)
    stream.once('close', () => {
      this.#streams--
    })
    return stream
  }

  /**
   * Looks for signs of life, every TICK_MS.
   * @param isAwaited somebody waits for the replica elsewhere.
   * @returns false when there were none for too long.
   */
  tick(isAwaited: boolean): boolean {
    if (this.#session.destroyed) return true
    const { bytesRead = 0 } = this.#session.socket
    if (bytesRead !== this.#bytesRead) this.#quietTicks = 0
    this.#bytesRead = bytesRead
    if (this.#isOpen && this.#streams === 0 && !isAwaited) {
      this.#quietTicks = 0
      if (++this.#idleTicks > IDLE_TICKS) this.#session.close()
      return true
    }
    this.#idleTicks = 0
    this.#quietTicks++
    if (!this.#isOpen) return this.#quietTicks <= CONNECTING_TICKS
    if (this.#quietTicks === PING_TICKS) {
      this.#session.ping(failure => {
        if (!failure) this.#quietTicks = 0
      })
    }
    return this.#quietTicks <= SILENT_TICKS
  }

  destroy(reason?: Error): void {
    this.#session.destroy(reason)
  }
}
