import { connect } from 'node:net'
import { createLogger } from '@millrace/kit/logger'
import { route } from '@millrace/kit/rpc'
import { ServerInfoService } from '@millrace/proto/millrace/server/v1/server_info_pb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Opened } from '../src/opened.ts'
import { serve } from '../src/serve.ts'

let opened: Opened
beforeAll(async () => {
  opened = await serve({
    address: { host: '127.0.0.1', port: 0 },
    routes: [route(ServerInfoService, { getServerInfo: () => ({}) })],
    ready: async () => undefined,
    log: createLogger({ level: 'silent' }),
  })
})
afterAll(async () => {
  await opened[Symbol.asyncDispose]()
})

const PATH = '/millrace.server.v1.ServerInfoService/GetServerInfo'

test('a message that cannot be read is invalid_argument in words of ours between services, too', async () => {
  const body = new Uint8Array([0x0a, 0xff, 0xff, 0x01])
  const answer = await fetch(opened.url + PATH, { method: 'POST', headers: { 'content-type': 'application/proto' }, body })
  expect(answer.status).toBe(400)
  const error = (await answer.json()) as { code: string; message: string }
  expect(error.code).toBe('invalid_argument')
  expect(error.message).not.toMatch(/parse|premature/i)
})

test('a host that makes no URL is refused, and the service goes on', async () => {
  const { port } = new URL(opened.url)
  const text = await new Promise<string>((resolve, reject) => {
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(`POST ${PATH} HTTP/1.1\r\nHost: [\r\nContent-Length: 0\r\n\r\n`))
    socket.on('data', chunk => {
      socket.end()
      resolve(String(chunk))
    })
    socket.on('error', reject)
  })
  expect(text).toMatch(/^HTTP\/1\.1 400 /)
  expect((await fetch(`${opened.url}/health`)).status).toBe(200)
})
