import { type AgentOptions, type ClientRequestArgs, Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent, type RequestOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import type { Proxies } from './proxies.ts'
import { blameProxy, silentStore } from './transport-errors.ts'

const CONNECT_TIMEOUT_MS = 10_000
const CONNECTIONS_MAX = 256

export interface HttpSettings {
  /** Longest silence of a store. */
  timeoutMs: number
  tls?: Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized'>
  proxies?: Proxies
  /** How long a connection is kept that nobody uses; absent: as the store says. */
  idleMs?: number
}

/**
 * The connections of one configuration, by protocol. What isn't a connection within 10 s is given up: name, TCP, the way through a proxy
 * and TLS take that long together.
 */
export class HttpAgents implements Disposable {
  readonly http: HttpAgent
  readonly https: HttpsAgent

  /** @param keepAlive false for calls that need a connection of their own, of which there may be any number. */
  constructor({ timeoutMs, tls, proxies, idleMs }: HttpSettings, keepAlive = true) {
    const kept = keepAlive ? { keepAlive, maxSockets: CONNECTIONS_MAX, timeout: idleMs } : {}
    const options = { ...kept, noDelay: true, proxyEnv: { ...proxies } }
    const limitMs = Math.min(CONNECT_TIMEOUT_MS, timeoutMs)
    this.http = new LimitedHttpAgent(options, limitMs)
    this.https = new LimitedHttpsAgent({ ...options, ...tls }, limitMs)
  }

  [Symbol.dispose](): void {
    this.http.destroy()
    this.https.destroy()
  }
}

type Created = (error: Error | null, socket: Duplex) => void

class LimitedHttpAgent extends HttpAgent {
  readonly #limitMs: number
  readonly #proxy: URL | null

  constructor(options: AgentOptions, limitMs: number) {
    super(options)
    this.#limitMs = limitMs
    this.#proxy = URL.parse(options.proxyEnv?.HTTP_PROXY ?? '')
  }

  override createConnection(options: ClientRequestArgs, created?: Created) {
    const socket = super.createConnection(options, created)
    if (socket) socket.once('connect', limitConnecting(socket, this.#limitMs, this.#proxy))
    return socket
  }
}

class LimitedHttpsAgent extends HttpsAgent {
  readonly #limitMs: number
  readonly #proxy: URL | null

  constructor(options: AgentOptions & HttpSettings['tls'], limitMs: number) {
    super(options)
    this.#limitMs = limitMs
    this.#proxy = URL.parse(options.proxyEnv?.HTTPS_PROXY ?? '')
  }

  /** Node hands a tunnel through a proxy over when its TLS is there, any other connection at once. */
  override createConnection(options: RequestOptions, created?: Created) {
    let settle = () => {}
    const socket = super.createConnection(options, (error, tunnel) => {
      settle()
      created?.(error, tunnel)
    })
    if (!socket) return socket
    const isTunnel = () => !this.sockets[this.getName(options)]?.some(known => known === socket)
    settle = limitConnecting(socket, this.#limitMs, this.#proxy, error => {
      if (isTunnel()) created?.(blameProxy(error), socket)
    })
    return socket.once('secureConnect', () => isTunnel() || settle())
  }
}

/** @returns what is to be called when the connection is there. */
function limitConnecting(socket: Duplex, limitMs: number, proxy: URL | null, onLimit?: (error: Error) => void): () => void {
  const limit = setTimeout(() => {
    const error = silentStore('no connection')
    onLimit?.(error)
    socket.destroy(error)
  }, limitMs)
  const settle = () => clearTimeout(limit)
  socket.once('close', settle)
  socket.on('error', error => {
    if (proxy && isAbout(proxy, error)) blameProxy(error)
  })
  return settle
}

/** Whether a failed connection was one to the proxy: Node says which host it couldn't find, or which port it couldn't reach. */
function isAbout(proxy: URL, error: unknown): boolean {
  const { hostname, port, errors } = error as { hostname?: string; port?: number; errors?: { port?: number }[] }
  const proxyPort = Number(proxy.port || (proxy.protocol === 'https:' ? 443 : 80))
  return hostname === proxy.hostname || (port ?? errors?.[0]?.port) === proxyPort
}
