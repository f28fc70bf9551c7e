import type { ClientHttp2Stream, ClientSessionRequestOptions, OutgoingHttpHeaders } from 'node:http2'
import { ReplicaConnection, TICK_MS } from './replica-connection.ts'
import { NotSent, SilentReplica } from './replica-failures.ts'

/** Connections that are tried for one call: the first has room for all but bursts. */
const CONNECTIONS_MAX = 16

/**
 * The session manager of a Connect transport: the connections to one replica, usually one, and whether it lives. While anybody waits for it, it has to give signs of life; when none
 * come it counts as silent, every wait is cut, and it is tried in the background until it takes a connection again.
 */
export class ReplicaSessions implements Disposable {
  readonly authority: string
  isSilent = false
  readonly #connections = new Set<ReplicaConnection>()
  readonly #waiting = new Set<(reason: Error) => void>()
  readonly #changed: (isSilent: boolean) => void
  #opening: ReplicaConnection | undefined
  #timer: NodeJS.Timeout | undefined

  /** @param changed is told when the replica falls silent and when it is heard again. */
  constructor(url: string, changed: (isSilent: boolean) => void) {
    this.authority = new URL(url).origin
    this.#changed = changed
  }

  async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Omit<ClientSessionRequestOptions, 'signal'>,
  ): Promise<ClientHttp2Stream> {
    let failure: unknown
    for (let tried = 0; tried < CONNECTIONS_MAX; tried++) {
      const connection = this.#withRoom()
      if (!connection) {
        await this.#open().opened
        continue
      }
      try {
        return connection.request({ ...headers, ':method': method, ':path': path }, options)
      } catch (reason) {
        if (connection.hasRoom) throw reason
        failure = reason
      }
    }
    throw new NotSent(`no connection to ${this.authority} lasts`, { cause: failure })
  }

  /** For the transport; the connections count bytes themselves. */
  notifyResponseByteRead(): void {}

  /**
   * Has somebody else's wait for this replica cut when it falls silent.
   * @returns what ends the wait.
   */
  wait(cut: (reason: Error) => void): () => void {
    if (this.isSilent) {
      queueMicrotask(() => cut(new SilentReplica(this.authority)))
      return () => undefined
    }
    this.#waiting.add(cut)
    this.#watch()
    return () => this.#waiting.delete(cut)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    for (const connection of this.#connections) connection.destroy()
  }

  #withRoom(): ReplicaConnection | undefined {
    for (const connection of this.#connections) if (connection.hasRoom) return connection
    return undefined
  }

  #open(): ReplicaConnection {
    if (this.#opening) return this.#opening
    const opening = new ReplicaConnection(this.authority, ended => {
      this.#connections.delete(ended)
      if (this.#opening === ended) this.#opening = undefined
    })
    this.#opening = opening
    this.#connections.add(opening)
    opening.opened.then(
      () => {
        this.#opening = undefined
        this.#setSilent(false)
      },
      // Refused is an answer too.
      reason => this.#setSilent(this.isSilent && reason.cause instanceof SilentReplica),
    )
    this.#watch()
    return opening
  }

  #watch(): void {
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref()
  }

  #tick(): void {
    const isAwaited = this.#waiting.size > 0
    if (this.#connections.size === 0) {
      if (isAwaited || this.isSilent) this.#open()
      else {
        clearInterval(this.#timer)
        this.#timer = undefined
      }
    }
    for (const connection of this.#connections) if (!connection.tick(isAwaited)) this.#cut(connection)
  }

  /** Where others still hear the replica, the connection alone is dead. */
  #cut(dead: ReplicaConnection): void {
    const reason = new SilentReplica(this.authority)
    const others = [...this.#connections].filter(one => one !== dead)
    dead.destroy(reason)
    if (others.some(one => !one.isQuiet)) return
    this.#setSilent(true)
    for (const one of others) one.destroy(reason)
    for (const cut of this.#waiting) cut(reason)
    this.#waiting.clear()
  }

  #setSilent(isSilent: boolean): void {
    if (this.isSilent === isSilent) return
    this.isSilent = isSilent
    this.#changed(isSilent)
  }
}
