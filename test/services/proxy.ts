import { readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { ensurePackages, which } from './install.ts'
import { freePort, start, tempFolder } from './process.ts'

export interface HttpProxy extends AsyncDisposable {
  readonly url: string
  /** What it was asked for since it is up: `GET http://host:port/path`, `CONNECT host:port`. */
  requests(): Promise<string[]>
}

const PATH = '/usr/bin:/usr/sbin'

/** tinyproxy, for plain calls and tunnels to anywhere. */
export async function startHttpProxy({
  user,
  port: given,
}: {
  user?: { name: string; password: string }
  port?: number
} = {}): Promise<HttpProxy> {
  await ensurePackages(['tinyproxy-bin'], () => which('tinyproxy', PATH) !== undefined)
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('proxy')).path
  const port = given ?? (await freePort())
  const log = join(folder, 'log')
  const file = join(folder, 'tinyproxy.conf')
  const auth = user ? `BasicAuth ${user.name} ${user.password}\n` : ''
  await writeFile(file, `Port ${port}\nListen 127.0.0.1\nLogFile "${log}"\nLogLevel Connect\nTimeout 60\n${auth}`)
  const command = which('tinyproxy', PATH) ?? 'tinyproxy'
  stack.use(await start({ command, args: ['-d', '-c', file], cwd: folder, ready: () => takes(port) }))
  const owned = stack.move()
  return {
    url: `http://127.0.0.1:${port}`,
    requests: async () => [...(await readFile(log, 'utf8')).matchAll(/Request .*?: (\S+ \S+) HTTP/g)].map(([, request = '']) => request),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function takes(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
