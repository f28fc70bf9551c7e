import { mkdtemp, rm } from 'node:fs/promises'
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { type Listener, listen } from '@millrace/kit/listen'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createByteClient } from '../src/byte-client/client.ts'
import { bodyOf, digest, generated, text } from '../src/conformance/bodies.ts'
import { byteHandler } from '../src/http-bytes.ts'
import { type Artifacts, checkArtifacts, openArtifacts, readArtifacts } from '../src/service.ts'
import { type FrontDoor, openFrontDoor } from './front-door.ts'

const BUSY = {
  error_code: 'TEMPORARILY_UNAVAILABLE',
  message: 'The server is busy with other artifact transfers',
  sqlstate: 'XXM00',
  error_class: 'CLIENT_INTERNAL_ERROR',
}

interface Held {
  sent: ClientRequest
  answered: Promise<IncomingMessage>
}

/** An upload whose body goes on until `sent` is ended. */
function hold(url: string, options: RequestOptions = {}): Held {
  const sent = request(url, { method: 'PUT', agent: false, ...options })
  const answered = new Promise<IncomingMessage>((resolve, reject) => sent.once('response', resolve).once('error', reject))
  answered.catch(() => undefined)
  if (!options.headers) sent.write('begun')
  return { sent, answered }
}

async function finish({ sent, answered }: Held): Promise<number | undefined> {
  sent.end()
  const response = await answered
  response.resume()
  return response.statusCode
}

let data: string
beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'millrace-limits-'))
})
afterAll(() => rm(data, { recursive: true }))

describe('limits of a process', () => {
  const opened: FrontDoor[] = []
  afterEach(async () => {
    for (const door of opened.splice(0)) await door[Symbol.asyncDispose]()
  })

  async function openDoor(env: Record<string, string>) {
    const door = await openFrontDoor(data, { env })
    opened.push(door)
    const origin = new URL(door.url).origin
    const metric = async (name: string) => {
      const lines = (await (await fetch(`${origin}/metrics`)).text()).split('\n')
      return Number(lines.find(line => line.startsWith(`millrace_artifact_${name} `))?.split(' ')[1])
    }
    const streams = async () => (await metric('streams{direction="upload"}')) + (await metric('streams{direction="download"}'))
    return { ...door, metric, streams }
  }

  test('streams beyond the limit are asked to come again, in MLflow’s error body', async () => {
    const { url, metric, streams } = await openDoor({ MILLRACE_ARTIFACT_STREAMS_MAX: '2' })
    const held = [hold(`${url}/h/0`), hold(`${url}/h/1`)]
    await expect.poll(streams).toBe(2)
    for (const method of ['PUT', 'GET']) {
      const refused = await fetch(`${url}/h/2`, { method, ...(method === 'PUT' ? { body: 'x'.repeat(100_000) } : {}) })
      expect([refused.status, refused.headers.get('retry-after'), await refused.json()]).toEqual([503, '1', BUSY])
    }
    expect(await metric('streams_refused_total{limit="streams"}')).toBe(2)
    expect(await metric('streams_limit')).toBe(2)
    for (const one of held) expect(await finish(one)).toBe(200)
    expect((await fetch(`${url}/h/2`, { method: 'PUT', body: 'x' })).status).toBe(200)
    expect(await (await fetch(`${url}/h/0`)).text()).toBe('begun')
    expect(await metric('bytes_total{direction="upload"}')).toBe(11)
    expect(await metric('bytes_total{direction="download"}')).toBe(5)
    expect(await streams()).toBe(0)
  })

  test('memory that bodies may take is a limit too; one body alone may take more', async () => {
    const { url, metric } = await openDoor({ MILLRACE_ARTIFACT_BYTES_IN_FLIGHT_MAX: String(1024 * 1024) })
    const held = [hold(`${url}/b/0`), hold(`${url}/b/1`)]
    await expect.poll(() => metric('bytes_in_flight')).toBe(1024 * 1024)
    expect((await fetch(`${url}/b/2`, { method: 'PUT', body: 'x' })).status).toBe(503)
    expect(await metric('streams_refused_total{limit="bytes"}')).toBe(1)
    for (const one of held) await finish(one)
    expect(await metric('bytes_in_flight')).toBe(0)
  })

  test('a client that waits to be asked for its body never sends it when there is no room', async () => {
    const { url, streams } = await openDoor({ MILLRACE_ARTIFACT_STREAMS_MAX: '1' })
    const held = hold(`${url}/e/0`)
    await expect.poll(streams).toBe(1)
    const waiting = hold(`${url}/e/1`, { headers: { Expect: '100-continue', 'Content-Length': 5 } })
    let asked = false
    waiting.sent.once('continue', () => {
      asked = true
    })
    expect((await waiting.answered).statusCode).toBe(503)
    expect(asked).toBe(false)
    waiting.sent.destroy()
    await finish(held)
    const welcome = hold(`${url}/e/1`, { headers: { Expect: '100-continue', 'Content-Length': 5 } })
    welcome.sent.once('continue', () => welcome.sent.end('asked'))
    expect((await welcome.answered).statusCode).toBe(200)
    expect(await (await fetch(`${url}/e/1`)).text()).toBe('asked')
  })

  test('a stream is counted down once, however it ends', async () => {
    const { url, metric, streams } = await openDoor({})
    const put = (path: string, body: string) => fetch(`${url}/${path}`, { method: 'PUT', body })
    const get = (path: string, headers: Record<string, string> = {}, method = 'GET') => fetch(`${url}/${path}`, { method, headers })
    await put('c/file', 'x'.repeat(3_000_000))
    const whole = await get('c/file')
    const etag = whole.headers.get('etag') ?? ''
    await whole.arrayBuffer()
    const statuses = [
      await get('c/file', { Range: 'bytes=1-2' }),
      await get('c/file', { Range: 'bytes=1-2', 'If-Range': '"other"' }),
      await get('c/file', { Range: 'bytes=3000000-' }),
      await get('c/file', { 'If-None-Match': etag }),
      await get('c/file', {}, 'HEAD'),
      await get('c/missing'),
      await get('c'),
      await get('../c'),
      await put('c/file/below', 'x'),
      await put('c', 'x'),
      await put('c/.artifact.uploading.x', 'x'),
    ].map(async response => {
      await response.arrayBuffer()
      return response.status
    })
    expect(await Promise.all(statuses)).toEqual([206, 200, 416, 304, 200, 404, 400, 404, 400, 400, 400])
    for (let i = 0; i < 10; i++) {
      const killed = hold(`${url}/c/killed${i}`)
      await expect.poll(streams).toBe(1)
      killed.sent.destroy()
      const stop = new AbortController()
      const cut = await fetch(`${url}/c/file`, { signal: stop.signal })
      if (i % 2) await cut.body?.getReader().read()
      stop.abort()
      await expect.poll(streams).toBe(0)
    }
    expect(await metric('bytes_in_flight')).toBe(0)
    expect(await metric('streams{direction="upload"}')).toBe(0)
  })

  test('no label is chosen by clients', async () => {
    const { url } = await openDoor({})
    await fetch(`${url}/hunter2/x`, { method: 'PUT', body: 'x' })
    const answer = await fetch(`${new URL(url).origin}/metrics`)
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
    const found = await answer.text()
    expect(found).toContain('process_resident_memory_bytes')
    expect(found).toContain('# TYPE millrace_artifact_bytes_total counter')
    expect(found).not.toContain('hunter2')
  })
})

interface Process extends AsyncDisposable {
  readonly url: string
  readonly artifacts: Artifacts
  calls: number
}

/** What `millrace artifacts` serves, without its RPC. */
async function startProcess(streamsMax: number): Promise<Process> {
  const env = { MILLRACE_ARTIFACT_STREAMS_MAX: String(streamsMax) }
  const artifacts = await openArtifacts(checkArtifacts(readArtifacts(env, { artifactsDestination: data })))
  const serve = byteHandler(artifacts.bytes)
  const handler: typeof serve = (req, res) => {
    started.calls++
    serve(req, res)
  }
  const listener: Listener = await listen({ host: '127.0.0.1', port: 0, handler, drainTimeoutMs: 0 })
  const started: Process = {
    url: listener.url,
    artifacts,
    calls: 0,
    async [Symbol.asyncDispose]() {
      await listener[Symbol.asyncDispose]()
      await artifacts[Symbol.asyncDispose]()
    },
  }
  return started
}

describe('limits between processes', () => {
  const uri = (path: string) => `mlflow-artifacts:/#p/${path}`
  const placeOf = ({ url }: Process, path: string) => `${url}/bytes?${new URLSearchParams({ uri: uri(path) })}`

  test('what one process has no room for another takes, big uploads too', async () => {
    await using full = await startProcess(1)
    await using free = await startProcess(100)
    const held = hold(placeOf(full, 'held'))
    await expect.poll(() => full.calls).toBe(1)
    const turns = [full, free]
    using client = createByteClient(() => {
      turns.reverse()
      return turns[1]?.url ?? ''
    })
    for (let i = 0; i < 4; i++) {
      await client.write(uri(`small${i}`), bodyOf('small'), { length: 5 })
      await client.write(uri(`big${i}`), generated(5_000_000), { length: 5_000_000 })
      await client.write(uri(`unknown${i}`), generated(3_000_000))
      expect(await digest((await client.read(uri(`big${i}`))).body)).toEqual(await digest(generated(5_000_000)))
      expect(await text((await client.read(uri(`small${i}`))).body)).toBe('small')
    }
    expect(full.calls).toBeGreaterThan(4)
    expect(await finish(held)).toBe(200)
  })

  test('when none has room the caller is told when to come again, and each was asked once', async () => {
    await using one = await startProcess(1)
    await using two = await startProcess(1)
    const held = [hold(placeOf(one, 'held1')), hold(placeOf(two, 'held2'))]
    await expect.poll(() => one.calls + two.calls).toBe(2)
    const turns = [one, two]
    using client = createByteClient(() => {
      turns.reverse()
      return turns[1]?.url ?? ''
    })
    const body = generated(5_000_000)
    const busy = { errorCode: 'TEMPORARILY_UNAVAILABLE', retryAfterSeconds: 1 }
    await expect(client.write(uri('x'), body)).rejects.toMatchObject(busy)
    expect([one.calls, two.calls]).toEqual([2, 2])
    expect((await buffer(body)).length).toBe(5_000_000)
    await expect(client.read(uri('x'))).rejects.toMatchObject(busy)
    await expect(client.write(uri('x'), bodyOf('x'), { length: 1 })).rejects.toMatchObject(busy)
    expect([one.calls, two.calls]).toEqual([4, 4])
    for (const one of held) expect(await finish(one)).toBe(200)
    await client.write(uri('x'), bodyOf('x'), { length: 1 })
  })
})
