import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { Transform } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

/** What is wrong with the network between a client and its server; nothing when empty. */
export interface Toxics {
  /**
   * `refuse`: no connection is accepted and the open ones are reset. `silent`: connections are accepted and no byte gets through;
   * what was held back is lost with its connection when the mode ends.
   */
  mode?: 'pass' | 'refuse' | 'silent'
  /** Waited each way before bytes that follow a silence. */
  latencyMs?: number
  /** Each way, for each connection. */
  bytesPerSecond?: number
  /** Resets a connection once so many bytes have gone through it since the toxics were set; `down` is towards the client. */
  cut?: { direction: Direction; afterBytes: number }
}

type Direction = 'up' | 'down'

export interface ToxicProxy extends AsyncDisposable {
  readonly port: number
  /** Replaces the toxics, also for connections that are open. */
  set(toxics: Toxics): Promise<void>
  /** Connections that are open now. */
  connections(): number
}

interface Target {
  host?: string
  port: number
}

interface ProxyOptions {
  host?: string
  port?: number
}

/** A TCP proxy on loopback whose network can be made bad and good again while it runs. */
export async function startToxicProxy(target: Target, options: ProxyOptions = {}): Promise<ToxicProxy> {
  const host = options.host ?? '127.0.0.1'
  const open = new Set<Socket>()
  let toxics: Toxics = {}
  let changed = new AbortController()
  const current = () => ({ toxics, changed: changed.signal })
  const server = createServer({ allowHalfOpen: true }, client => {
    const upstream = connect({ host: target.host ?? host, port: target.port, allowHalfOpen: true })
    const reset = () => {
      client.resetAndDestroy()
      upstream.resetAndDestroy()
    }
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.setNoDelay()
      socket.once('error', reset)
      socket.once('close', () => open.delete(socket))
    }
    client.pipe(link('up', current, reset)).pipe(upstream)
    upstream.pipe(link('down', current, reset)).pipe(client)
  })
  const port = await listen(server, host, options.port ?? 0)
  const resetAll = () => {
    for (const socket of open) socket.resetAndDestroy()
  }
  return {
    port,
    async set(next) {
      const wasSilent = toxics.mode === 'silent'
      toxics = next
      changed.abort()
      changed = new AbortController()
      if (wasSilent || next.mode === 'refuse') resetAll()
      if (next.mode === 'refuse') await close(server)
      else if (!server.listening) await listen(server, host, port)
    },
    connections: () => open.size / 2,
    async [Symbol.asyncDispose]() {
      changed.abort()
      resetAll()
      await close(server)
    },
  }
}

/** One direction of one connection. */
function link(direction: Direction, current: () => { toxics: Toxics; changed: AbortSignal }, reset: () => void): Transform {
  let lastAt = 0
  let counted: Toxics | undefined
  let countedBytes = 0
  const pass = async (chunk: Buffer): Promise<Buffer | undefined> => {
    for (let { toxics, changed } = current(); toxics.mode === 'silent'; { toxics, changed } = current()) await once(changed, 'abort')
    const { toxics } = current()
    const { latencyMs = 0, bytesPerSecond, cut } = toxics
    if (performance.now() - lastAt > latencyMs) await sleep(latencyMs)
    if (bytesPerSecond) await sleep((chunk.length / bytesPerSecond) * 1000)
    lastAt = performance.now()
    if (counted !== toxics) countedBytes = 0
    counted = toxics
    countedBytes += chunk.length
    return cut?.direction === direction && countedBytes > cut.afterBytes ? undefined : chunk
  }
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      pass(chunk).then(passed => (passed ? done(null, passed) : reset()), done)
    },
  })
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  server.listen(port, host)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return
  server.close()
  await once(server, 'close')
}
