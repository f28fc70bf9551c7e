import { join } from 'node:path'
import { motoVenv } from './install.ts'
import { answers, freePort, start } from './process.ts'

export interface MotoServer extends AsyncDisposable {
  readonly endpoint: string
  readonly accessKey: string
  readonly secretKey: string
}

/** An S3 server that keeps keys as S3 does, where SeaweedFS takes them for paths of a file system. It keeps all in memory and checks no signature. */
export async function startMoto(): Promise<MotoServer> {
  const bin = await motoVenv()
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const server = await start({
    command: join(bin, 'moto_server'),
    args: ['-H', '127.0.0.1', '-p', String(port)],
    cwd: '/',
    ready: () => answers(`${endpoint}/moto-api/`),
  })
  return { endpoint, accessKey: 'moto', secretKey: 'moto', [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}
