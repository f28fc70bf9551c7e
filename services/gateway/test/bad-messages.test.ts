import { request as request1 } from 'node:http'
import { connect as connect2 } from 'node:http2'
import { connect } from 'node:net'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { create, type DescMessage, toBinary } from '@bufbuild/protobuf'
import { envelope } from '@millrace/kit/rpc-server'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { LogBatchRequestSchema, RunService } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Gateway } from '../src/service.ts'
import { get, some, startWith } from './fixture.ts'

let gateway: Gateway
let seen: unknown
beforeAll(async () => {
  const runs = some(RunService, {
    getRun: request => {
      seen = request.runId
      return {}
    },
    logBatch: request => {
      seen = request.params.length
      return {}
    },
    deleteRun: () => {
      throw new TypeError('a library says: connect ECONNREFUSED 10.0.0.1:5432')
    },
  })
  gateway = await startWith([runs, some(ExperimentService, {})])
})
afterAll(async () => {
  await gateway[Symbol.asyncDispose]()
})

const RUNS = '/millrace.tracking.v1.RunService'
const LIBRARY =
  /parse binary|premature|protocol error|decompression|readMaxBytes|cannot decode|JSON\.parse|Unexpected|envelope|wire type|ECONN/i

interface Sent {
  path?: string
  headers?: Record<string, string>
  body?: Uint8Array | string
}

async function unary({ path = `${RUNS}/GetRun`, headers = {}, body = '' }: Sent) {
  const answer = await fetch(gateway.url + path, { method: 'POST', headers, body: body as string })
  const text = await answer.text()
  return { status: answer.status, code: (JSON.parse(text || '{}') as { code?: string }).code, text }
}

/** Status and message of gRPC, over HTTP/2, and of gRPC-Web. */
function grpc({ path = `${RUNS}/GetRun`, headers = {}, body = '' }: Sent): Promise<{ status: string; text: string }> {
  return new Promise((resolve, reject) => {
    const session = connect2(gateway.url)
    session.on('error', reject)
    const stream = session.request({ ':method': 'POST', ':path': path, te: 'trailers', 'content-type': 'application/grpc', ...headers })
    let found: Record<string, unknown> = {}
    let text = ''
    stream.on('response', all => {
      found = { ...found, ...all }
    })
    stream.on('trailers', all => {
      found = { ...found, ...all }
    })
    stream.on('data', chunk => {
      text += chunk.toString('latin1')
    })
    stream.on('error', reject)
    stream.on('close', () => {
      session.close()
      const status = found['grpc-status'] ?? /grpc-status: ?(\d+)/.exec(text)?.[1]
      resolve({ status: String(status), text: decodeURIComponent(`${found['grpc-message'] ?? ''} ${text}`) })
    })
    stream.end(body)
  })
}

const PROTO = { 'content-type': 'application/proto' }
const JSON_TYPE = { 'content-type': 'application/json' }
const broken = Buffer.from([0x0a, 0xff, 0xff, 0x01])
const zipped = (encoding: string) => ({ ...PROTO, 'content-encoding': encoding })

describe('a request that cannot be read is invalid_argument in words of ours', () => {
  test.each<[string, Sent]>([
    ['no protobuf', { headers: PROTO, body: broken }],
    ['an end of a group', { headers: PROTO, body: Buffer.from([0x0c]) }],
    ['field number zero', { headers: PROTO, body: Buffer.from([0x00, 0x01]) }],
    ['text that is not UTF-8', { headers: PROTO, body: Buffer.from([0x0a, 0x02, 0xff, 0xfe]) }],
    ['no JSON', { headers: JSON_TYPE, body: '{' }],
    ['JSON that does not fit', { headers: JSON_TYPE, body: '{"runId":[1]}' }],
    ['a JSON list', { headers: JSON_TYPE, body: '[]' }],
    ['a broken gzip', { headers: zipped('gzip'), body: 'no gzip' }],
    ['a gzip that is cut off', { headers: zipped('gzip'), body: gzipSync('x'.repeat(1000)).subarray(0, 15) }],
    ['a broken brotli', { headers: zipped('br'), body: 'no brotli' }],
    ['an unknown compression', { headers: zipped('zstd'), body: 'x' }],
    ['a timeout that is none', { headers: { ...PROTO, 'connect-timeout-ms': 'soon' } }],
    ['a timeout of many digits', { headers: { ...PROTO, 'connect-timeout-ms': '9'.repeat(5000) } }],
  ])('Connect: %s', async (_, sent) => {
    const answer = await unary(sent)
    expect(answer).toMatchObject({ status: 400, code: 'invalid_argument' })
    expect(answer.text).not.toMatch(LIBRARY)
  })

  test.each([
    ['bad base64', 'encoding=proto&base64=1&message=%%%%'],
    ['bad base64 of JSON', 'encoding=json&base64=1&message=!!!'],
    ['no protobuf', `encoding=proto&base64=1&message=${broken.toString('base64url')}`],
    ['no JSON', 'encoding=json&message={'],
    ['a broken gzip', 'encoding=proto&base64=1&compression=gzip&message=AAAA'],
    ['an unknown compression', 'encoding=proto&compression=zstd&message='],
  ])('Connect with GET: %s', async (_, query) => {
    const answer = await get(gateway, `${RUNS}/GetRun?connect=v1&${query}`)
    expect([answer.status, JSON.parse(answer.text).code]).toEqual([400, 'invalid_argument'])
    expect(answer.text).not.toMatch(LIBRARY)
  })

  const enveloped = (flags: number, message: Uint8Array, length = message.length) => {
    const bytes = Buffer.from(envelope(message))
    bytes[0] = flags
    bytes.writeUInt32BE(length, 1)
    return bytes
  }
  test.each(['application/grpc', 'application/grpc+json', 'application/grpc-web', 'application/grpc-web+proto'])('%s', async type => {
    const requests: Sent[] = [
      { body: enveloped(0, broken) },
      { body: enveloped(0, Buffer.from('{')) },
      { body: enveloped(0, broken, 100) },
      { body: enveloped(1, broken), headers: { 'grpc-encoding': 'gzip' } },
      { body: enveloped(1, broken) },
      { body: enveloped(0, broken), headers: { 'grpc-encoding': 'zstd' } },
      { body: Buffer.concat([envelope(Buffer.alloc(0)), envelope(Buffer.alloc(0))]) },
      { body: 'xyz' },
      { body: '' },
      { body: envelope(Buffer.alloc(0)), headers: { 'grpc-timeout': 'soon' } },
    ]
    for (const sent of requests) {
      const { status, text } = await grpc({ ...sent, headers: { ...sent.headers, 'content-type': type } })
      expect([status, sent]).toEqual(['3', sent])
      expect(text).not.toMatch(LIBRARY)
    }
  })

  test.each(['text/plain', 'application/x-protobuf', 'application/grpc-webx', ''])(
    'the content type %j is 415 without a word',
    async type => {
      const answer = await fetch(`${gateway.url}${RUNS}/GetRun`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: new Uint8Array(1),
      })
      expect([answer.status, await answer.text()]).toEqual([415, ''])
    },
  )
})

test('what a handler threw is internal, without its text', async () => {
  const answer = await unary({ path: `${RUNS}/DeleteRun`, headers: JSON_TYPE, body: '{}' })
  expect(answer).toMatchObject({ status: 500, code: 'internal' })
  expect(answer.text).not.toMatch(LIBRARY)
})

describe('messages are bounded before they are parsed', () => {
  const bytesOf = (schema: DescMessage, value: object) => toBinary(schema, create(schema, value as never))
  const many = Buffer.alloc(1_000_000, Buffer.from([0x1a, 0]))

  test.each<[string, string, Sent]>([
    ['empty messages', 'invalid_argument', { headers: PROTO, body: many }],
    ['empty messages, packed', 'invalid_argument', { headers: zipped('gzip'), body: gzipSync(many) }],
    ['unknown fields', 'invalid_argument', { headers: PROTO, body: Buffer.alloc(999_999, Buffer.from([0xf8, 1, 0])) }],
    ['JSON objects', 'invalid_argument', { headers: JSON_TYPE, body: `{"params":[${'{},'.repeat(200_000)}{}]}` }],
    ['digits', 'invalid_argument', { headers: JSON_TYPE, body: `{"metrics":[{"step":"${'1'.repeat(3_000_000)}"}]}` }],
    ['60 MB', 'resource_exhausted', { headers: PROTO, body: Buffer.alloc(60_000_000) }],
    ['60 MB out of 60 KB', 'resource_exhausted', { headers: zipped('gzip'), body: gzipSync(Buffer.alloc(60_000_000)) }],
    ['60 MB out of less', 'resource_exhausted', { headers: zipped('br'), body: brotliCompressSync(Buffer.alloc(60_000_000)) }],
  ])('%s', async (_, code, sent) => {
    const answer = await unary({ path: `${RUNS}/LogBatch`, ...sent })
    expect(answer.code).toBe(code)
    expect(answer.text).not.toMatch(LIBRARY)
  })

  test('a full batch passes, packed or not, in every protocol', async () => {
    const params = Array.from({ length: 2_000 }, (_, i) => ({ key: `p${i}`, value: 'v'.repeat(900) }))
    const whole = bytesOf(LogBatchRequestSchema, { runId: 'r', params })
    const path = `${RUNS}/LogBatch`
    for (const [headers, body] of [
      [PROTO, whole],
      [zipped('gzip'), gzipSync(whole)],
      [JSON_TYPE, JSON.stringify({ runId: 'r', params })],
    ] as const) {
      seen = 0
      expect((await unary({ path, headers, body })).text).toBe(headers === JSON_TYPE ? '{}' : '')
      expect(seen).toBe(2_000)
    }
    for (const type of ['application/grpc', 'application/grpc-web+proto']) {
      const body = Buffer.from(envelope(gzipSync(whole)))
      body[0] = 1
      seen = 0
      const { status } = await grpc({ path, headers: { 'content-type': type, 'grpc-encoding': 'gzip' }, body })
      expect([status, seen]).toEqual(['0', 2_000])
    }
  })

  test('a packed message in a URL is read', async () => {
    const message = gzipSync(Buffer.from('{"runId":"abc"}')).toString('base64url')
    await get(gateway, `${RUNS}/GetRun?connect=v1&encoding=json&base64=1&compression=gzip&message=${message}`)
    expect(seen).toBe('abc')
  })
})

test.each(['Host: [', 'Host: a b', 'Host: localhost:99999999'])(
  'a host that makes no URL is refused, and the process goes on: %s',
  async host => {
    const open = await startWith([], { disableSecurityMiddleware: true, allowedHosts: '*' })
    const answer = await new Promise<string>((resolve, reject) => {
      let text = ''
      const socket = connect(open.port, '127.0.0.1', () =>
        socket.write(`POST ${RUNS}/GetRun HTTP/1.1\r\n${host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`),
      )
      socket.on('data', chunk => {
        text += chunk
      })
      socket.on('close', () => resolve(text))
      socket.on('error', reject)
    })
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    const call = request1(`${open.url}/health`)
    expect(await new Promise(resolve => call.on('response', ({ statusCode }) => resolve(statusCode)).end())).toBe(200)
    await open[Symbol.asyncDispose]()
  },
)
