import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { guarded } from './guard.ts'

const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 20_000
const RUN_TIMEOUT_MS = 180_000
const LOG_TAIL_CHARACTERS = 4_000

export interface TempFolder extends AsyncDisposable {
  readonly path: string
}

export async function tempFolder(name: string): Promise<TempFolder> {
  const path = await mkdtemp(join(tmpdir(), `millrace-${name}-`))
  await chmod(path, 0o755)
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 3 }) }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  const port = await listenOnLoopback(server)
  server.close()
  await once(server, 'close')
  return port
}

/** @returns the port, a free one. */
export async function listenOnLoopback(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

export interface ProcessOptions {
  command: string
  args: string[]
  cwd: string
  env?: Record<string, string | undefined>
  /** Resolves true when the process answers; polled until then. */
  ready?: () => Promise<boolean>
}

export interface Running extends AsyncDisposable {
  readonly pid: number
  /** Everything written to standard output and error so far. */
  log(): string
  /** Sends `signal` to the process and its children, and answers the exit code (or the signal's name). */
  end(signal: NodeJS.Signals): Promise<number | string>
  readonly exited: Promise<number | string>
}

/** A server that can be killed without a word, and begun again where it was. */
export interface Killable {
  kill(): Promise<void>
  begin(): Promise<void>
  /** Waits until everything that the server has acknowledged outlives it; absent where that is always so. */
  settle?(): Promise<void>
}

/** A process that can be killed and begun again with the same options. */
export async function startKillable(options: ProcessOptions): Promise<Killable & AsyncDisposable> {
  let running = await start(options)
  const kill = async () => {
    await running.end('SIGKILL')
  }
  return {
    kill,
    async begin() {
      running = await start(options)
    },
    [Symbol.asyncDispose]: kill,
  }
}

/** Starts a plain child process in its own process group, with its output in a file in `cwd`. */
export async function start({ command, args, cwd, env, ready }: ProcessOptions): Promise<Running> {
  const logFile = join(cwd, `output-${process.hrtime.bigint()}.log`)
  const fd = openSync(logFile, 'a')
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', fd, fd], detached: true })
  closeSync(fd)
  const letGo = guarded(child.pid ?? -1)
  const exited = exitOf(child).finally(letGo)
  exited.catch(() => {})
  const log = () => readFileSync(logFile, 'utf8')
  const end = async (signal: NodeJS.Signals) => {
    signalGroup(child, signal)
    return exited
  }
  const running: Running = {
    pid: child.pid ?? -1,
    log,
    end,
    exited,
    async [Symbol.asyncDispose]() {
      const cut = setTimeout(() => signalGroup(child, 'SIGKILL'), STOP_TIMEOUT_MS)
      await end('SIGTERM').catch(() => {})
      clearTimeout(cut)
      signalGroup(child, 'SIGKILL')
    },
  }
  if (!ready) return running
  let gone = false
  exited.then(
    () => (gone = true),
    () => (gone = true),
  )
  const deadline = Date.now() + READY_TIMEOUT_MS
  while (!gone && Date.now() < deadline) {
    if (await ready().catch(() => false)) return running
    await sleep(50)
  }
  const tail = log().slice(-LOG_TAIL_CHARACTERS)
  await running[Symbol.asyncDispose]()
  throw new Error(`${command} ${args.join(' ')} ${gone ? 'ended' : 'did not answer'}:\n${tail}`)
}

async function exitOf(child: ChildProcess): Promise<number | string> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  return code ?? signal ?? -1
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (!child.pid) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Sends SIGSTOP and waits until every thread stands still or is gone: for a moment after the signal they may still answer. */
export async function freeze(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  await eventually(`process ${pid} stands still`, async () => {
    const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
    const states = await Promise.all(threads.map(id => readFile(`/proc/${pid}/task/${id}/status`, 'utf8').catch(() => '')))
    return states.every(status => status === '' || /^State:\s+[TZX]/m.test(status)) || undefined
  })
}

export interface Outcome {
  code: number | string
  stdout: string
  stderr: string
}

/** Runs a command to its end; it is killed after `timeoutMs`. */
export async function run(
  command: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string | undefined>; timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<Outcome> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? RUN_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', chunk => out.push(chunk))
  child.stderr.on('data', chunk => err.push(chunk))
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { code: code ?? signal ?? -1, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }
}

/** Like `run`, but anything except exit code 0 is an error that shows the output. */
export async function runOk(command: string, args: string[], options: Parameters<typeof run>[2] = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options)
  if (code === 0) return stdout
  throw new Error(
    `${command} ${args.join(' ')} ended with ${code}:\n${stdout.slice(-LOG_TAIL_CHARACTERS)}\n${stderr.slice(-LOG_TAIL_CHARACTERS)}`,
  )
}

/** True once `url` answers with a status under 500. */
export async function answers(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) })
  await response.arrayBuffer()
  return response.status < 500
}

/** Polls until `check` gives a value that is not undefined. */
export async function eventually<T>(what: string, check: () => Promise<T | undefined>, timeoutMs = 90_000): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const value = await check()
    if (value !== undefined) return value
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await sleep(100)
  }
}
