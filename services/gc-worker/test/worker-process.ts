// A gc-worker in a process of its own, for tests that kill it. Its metadata and artifacts are the test's, over HTTP.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connectNodeAdapter, createConnectTransport } from '@connectrpc/connect-node'
import { register } from '@millrace/kit/rpc'
import { openGcWorker } from '../src/service.ts'
import { silent } from './harness.ts'

const { config, timings, baseUrl } = JSON.parse(process.argv[2] ?? '')
const transport = createConnectTransport({ baseUrl, httpVersion: '1.1' })
const worker = await openGcWorker(config, { metadata: transport, artifacts: transport, log: silent }, { timings })
const server = createServer(connectNodeAdapter({ routes: router => register(router, worker.routes) }))
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
