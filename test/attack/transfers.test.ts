import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace, startTarget } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'
import { expectNothingOpen, openThings } from './gauges.ts'

const FILES = '/api/2.0/mlflow-artifacts/artifacts'
const UPLOADS = '/api/2.0/mlflow-artifacts/mpu'
const BODY_TIMEOUT_SECONDS = 13
const STREAMS_MAX = 40
/** A refused client may be listened to for 30 s more. */
const GIVEN_UP_MS_MAX = 60_000
const env = { MILLRACE_BODY_TIMEOUT_SECONDS: String(BODY_TIMEOUT_SECONDS), MILLRACE_ARTIFACT_STREAMS_MAX: String(STREAMS_MAX) }
const LARGE_BYTES = 4 * 1024 * 1024

interface Site extends AsyncDisposable {
  url: string
  port: number
  folder: string
  /** Every process, the one with the public port first. */
  processes: Millrace[]
}

async function oneProcess(): Promise<Site> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('transfers'))
  const artifactsDestination = join(folder.path, 'artifacts')
  const backendStoreUri = `sqlite:///${folder.path}/mlflow.db`
  const server = stack.use(await startMillrace({ cwd: folder.path, backendStoreUri, artifactsDestination, env }))
  const opened = stack.move()
  return {
    url: server.url,
    port: server.port,
    folder: artifactsDestination,
    processes: [server],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

async function split(): Promise<Site> {
  await using stack = new AsyncDisposableStack()
  const { path: cwd } = stack.use(await tempFolder('transfers'))
  const folder = join(cwd, 'artifacts')
  const artifacts = stack.use(await startTarget('artifacts', { cwd, env, args: ['--artifacts-destination', folder] }))
  const args = ['--artifacts-only', '--artifacts-url', artifacts.url]
  const gateway = stack.use(await startTarget('gateway', { cwd, env, args }))
  const opened = stack.move()
  return { ...gateway, folder, processes: [gateway, artifacts], [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

/** Sends bytes on a connection of its own, and leaves in one of three ways. */
async function sendAndLeave(port: number, text: string, leave: 'end' | 'destroy' | 'resetAndDestroy', pauseMs: number): Promise<void> {
  const socket = await send(port, text)
  if (pauseMs > 0) await sleep(pauseMs)
  socket[leave]()
  if (leave === 'end') setTimeout(() => socket.destroy(), 200)
}

async function send(port: number, text: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  await new Promise(resolve => socket.write(text, resolve))
  return socket
}

const WAYS = ['destroy', 'resetAndDestroy', 'end'] as const

describe.each([
  ['one process', oneProcess],
  ['a gateway over an artifacts process', split],
])('clients of %s', (_name, begin) => {
  let site: Site
  let client: HttpClient
  beforeAll(async () => {
    site = await begin()
    client = httpClient(site.url)
    for (const [name, body] of [
      ['small', 'hello'],
      ['large', randomBytes(LARGE_BYTES)],
    ] as const) {
      expect((await client.send('PUT', `${FILES}/leave/${name}`, body)).status).toBe(200)
    }
  })
  afterAll(async () => {
    client[Symbol.dispose]()
    await site[Symbol.asyncDispose]()
  })
  const settled = async () => {
    await expectNothingOpen(...site.processes.map(({ url }) => url))
    const { status, body } = await client.send('GET', `${FILES}/leave/small`)
    expect([status, body.toString()]).toEqual([200, 'hello'])
  }

  test('that give up downloads leave no transfer behind', async () => {
    for (const name of ['small', 'large']) {
      const lines = ['', 'Range: bytes=1-\r\n', 'Range: bytes=1-\r\nIf-Range: "x"\r\n', 'If-None-Match: *\r\n']
      for (const [i, line] of [...lines, ...lines].entries()) {
        const text = `${i === 3 ? 'HEAD' : 'GET'} ${FILES}/leave/${name} HTTP/1.1\r\nHost: localhost\r\n${line}\r\n`
        for (const way of WAYS) await Promise.all([0, 0, 0, 1, 5].map(pauseMs => sendAndLeave(site.port, text, way, pauseMs)))
      }
    }
    await settled()
  })

  test('that leave in the middle of an upload or a part leave nothing behind', async () => {
    const { upload_id, credentials } = await client.ok<{ upload_id: string; credentials: { url: string }[] }>(
      'POST',
      `${UPLOADS}/create/cut`,
      { path: 'parts.bin', num_parts: 1 },
    )
    const part = new URL(credentials[0]?.url ?? '').pathname
    const heads = [
      'Content-Length: 1000000\r\n\r\nabc',
      'Transfer-Encoding: chunked\r\n\r\nff\r\nabc',
      'Expect: 100-continue\r\nContent-Length: 9\r\n\r\n',
    ]
    for (const target of [part, `${FILES}/cut/whole.bin`]) {
      for (const head of heads) {
        const text = `PUT ${target} HTTP/1.1\r\nHost: localhost\r\n${head}`
        for (const way of WAYS) await Promise.all([0, 1, 5, 30].map(pauseMs => sendAndLeave(site.port, text, way, pauseMs)))
      }
    }
    await settled()
    const parts = await readdir(join(site.folder, '.artifact.uploading.parts', upload_id)).catch(() => [])
    expect(parts.filter(name => name !== 'key')).toEqual([])
    await client.ok('POST', `${UPLOADS}/abort/cut`, { path: 'parts.bin', upload_id })
    expect(await readdir(join(site.folder, 'cut')).catch(() => [])).toEqual([])
  })

  test('that stand still hold no transfer for ever', async () => {
    const upload = (n: number) => `PUT ${FILES}/hog/${n} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc`
    const sockets = await Promise.all(Array.from({ length: STREAMS_MAX }, (_, n) => send(site.port, upload(n))))
    await expect
      .poll(async () => (await openThings(site.processes.at(-1)?.url ?? ''))['artifact_streams{direction="upload"}'])
      .toBe(STREAMS_MAX)
    expect((await client.send('GET', `${FILES}/leave/small`)).status, 'every place is taken').toBe(503)
    // Before any of them is given up, one that stands still makes room.
    await expect.poll(async () => (await client.send('GET', `${FILES}/leave/small`)).status).toBe(200)
    expect(sockets.some(socket => !socket.closed)).toBe(true)
    await expect.poll(() => sockets.filter(socket => !socket.resume().closed).length, { timeout: GIVEN_UP_MS_MAX }).toBe(0)
    await settled()

    const download = `GET ${FILES}/leave/large HTTP/1.1\r\nHost: localhost\r\n\r\n`
    const readers = await Promise.all(Array.from({ length: 4 }, () => send(site.port, download)))
    await settled()
    for (const reader of readers) reader.destroy()
  })

  test('that were there all the time find the same processes', async () => {
    for (const { process } of site.processes) expect(await Promise.race([process.exited, 'alive'])).toBe('alive')
    for (const { process } of site.processes) expect(process.log()).not.toMatch(/Warning: |not handled/)
  })
})
