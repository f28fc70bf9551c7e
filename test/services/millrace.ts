import { join } from 'node:path'
import { repository } from './config.ts'
import { answers, freePort, type Outcome, type Running, run, start } from './process.ts'

type Env = Record<string, string | undefined>

/** A script that gives way to Node: signals sent to it reach the server. */
const program = join(repository, 'node_modules/.bin/millrace')

export interface Millrace extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly process: Running
}

export interface MillraceOptions {
  cwd: string
  backendStoreUri: string
  artifactsDestination: string
  port?: number
  env?: Env
  args?: string[]
}

/** The all-in-one server. */
export async function startMillrace(options: MillraceOptions): Promise<Millrace> {
  const args = ['--backend-store-uri', options.backendStoreUri, '--artifacts-destination', options.artifactsDestination]
  return startTarget('server', { ...options, args: [...args, ...(options.args ?? [])] })
}

/** One target on a free loopback port, ready when its health route answers. */
export async function startTarget(target: string, options: { cwd: string; args: string[]; port?: number; env?: Env }): Promise<Millrace> {
  const port = options.port ?? (await freePort())
  const url = `http://127.0.0.1:${port}`
  const process = await start({
    command: program,
    args: [target, '--host', '127.0.0.1', '--port', String(port), ...options.args],
    cwd: options.cwd,
    env: options.env,
    ready: () => answers(`${url}/health`),
  })
  return { url, port, process, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() }
}

/** A command of the CLI, run to its end. */
export function millrace(args: string[], options: { cwd: string; env?: Env; timeoutMs?: number }): Promise<Outcome> {
  return run(program, args, options)
}
