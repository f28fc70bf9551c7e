import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient } from '@connectrpc/connect'
import { connectNodeAdapter, createConnectTransport } from '@connectrpc/connect-node'
import { type Route, register } from '@millrace/kit/rpc'
import { GarbageCollectionService } from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import type { GcWorkerConfig } from '../src/config.ts'
import { FAST } from './harness.ts'
import type { World } from './world.ts'

export function serveWorld(world: World) {
  return serveRoutes([...world.metadata, ...world.artifacts])
}

/** Serves routes over HTTP on a free port. */
export async function serveRoutes(routes: readonly Route[]) {
  const server = createServer(connectNodeAdapter({ routes: router => register(router, routes) }))
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

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}
