import { connect } from 'node:net'
import { ensurePackages, which } from './install.ts'
import { freePort, type Running, start, tempFolder } from './process.ts'

export interface RedisServer extends AsyncDisposable {
  readonly url: string
  /** kill -9; everything it held is lost. */
  kill(): Promise<void>
  /** Starts it again, empty, on the same port. */
  restart(): Promise<void>
}

export async function startRedis(): Promise<RedisServer> {
  await ensurePackages(['redis-server'], () => which('redis-server') !== undefined)
  const port = await freePort()
  const folder = await tempFolder('redis')
  const launch = () =>
    start({
      command: which('redis-server') ?? '',
      args: ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction'],
      cwd: folder.path,
      ready: () => pings(port),
    })
  let server: Running = await launch().catch(async error => {
    await folder[Symbol.asyncDispose]()
    throw error
  })
  return {
    url: `redis://127.0.0.1:${port}`,
    async kill() {
      await server.end('SIGKILL')
    },
    async restart() {
      server = await launch()
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

function pings(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.setTimeout(1_000, () => socket.destroy())
    socket.once('data', data => {
      resolve(data.toString().startsWith('+PONG'))
      socket.destroy()
    })
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
  })
}
