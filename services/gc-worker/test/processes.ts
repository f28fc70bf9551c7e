import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient } from '@connectrpc/connect'
import { connectNodeAdapter, createConnectTransport } from '@connectrpc/connect-node'
import { register } from '@millrace/kit/rpc'
import { GarbageCollectionService } from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import type { GcWorkerConfig } from '../src/config.ts'
import { FAST } from './harness.ts'
import type { World } from './world.ts'

/** Serves the world's routes over HTTP. */
export async function serveWorld(world: World) {
  const server = createServer(connectNodeAdapter({ routes: router => register(router, [...world.metadata, ...world.artifacts]) }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async () => {
    server.closeAllConnections()
    server.close()
  }
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, [Symbol.asyncDispose]: close }
}

/** Starts a gc-worker in another process. */
export async function forkWorker(config: GcWorkerConfig, baseUrl: string) {
  const argument = JSON.stringify({ config, timings: FAST, baseUrl })
  const child = fork(new URL('worker-process.ts', import.meta.url), [argument], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const [port] = await once(child, 'message')
  const transport = createConnectTransport({ baseUrl: `http://127.0.0.1:${port}`, httpVersion: '1.1' })
  return { gc: createClient(GarbageCollectionService, transport), kill: () => killed(child), [Symbol.asyncDispose]: () => killed(child) }
}

/** Starts a Redis server that keeps nothing. */
export async function startRedis(port: number) {
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction']
  const child = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const chunk of child.stdout) if (String(chunk).includes('Ready to accept connections')) break
  child.stdout.resume()
  return { kill: () => killed(child), [Symbol.asyncDispose]: () => killed(child) }
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}
