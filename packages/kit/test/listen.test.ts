import { once } from 'node:events'
import { Agent, type IncomingMessage, type RequestListener, request, type ServerResponse } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type Listener, type ListenLimits, listen } from '../src/listen.ts'

/** Answers `POST /echo` with the body, `/large` with more than a client that doesn't read can be sent, most else with its path. */
const handler: RequestListener = (req, res) => {
  if (req.url === '/echo') void req.pipe(res)
  else if (req.url === '/large') res.end(Buffer.alloc(32 * 1024 * 1024))
  else if (req.url === '/empty') res.writeHead(200).end()
  else if (req.url === '/later') setTimeout(() => res.end('later'), 300)
  else res.end(req.url)
}

const open = (limits?: Partial<ListenLimits>, own: RequestListener = handler) =>
  listen({ host: '127.0.0.1', port: 0, handler: own, drainTimeoutMs: 5_000, limits })

async function dial({ port }: Listener): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true })
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

/** Everything that the server sends until it closes. */
async function received(socket: Socket): Promise<string> {
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  await new Promise(resolve => socket.once('end', resolve).once('close', resolve))
  socket.destroy()
  return Buffer.concat(chunks).toString('latin1')
}

const gauge = ({ metrics }: Listener, name: string) => metrics.find(metric => metric.name === `millrace_http_${name}`)?.values()[0]?.value

/** No request is in progress: the gauge leaves out the one that would ask for it. */
const isIdle = (listener: Listener) => expect.poll(() => gauge(listener, 'requests_in_progress')).toBe(-1)

/** Over a connection of its own. */
const answers = async (listener: Listener) => {
  const socket = await dial(listener)
  socket.write('GET /there HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  expect(await received(socket)).toMatch(/^HTTP\/1.1 200 OK[\s\S]*there$/)
}

test('a first segment of any length leaves the port alive and its request answered', async () => {
  await using listener = await open()
  const post = 'POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi'
  await Promise.all(
    Array.from({ length: 30 }, async (_, at) => {
      const socket = await dial(listener)
      socket.write(post.slice(0, at + 1))
      await sleep(30)
      socket.write(post.slice(at + 1))
      expect(await received(socket)).toMatch(/^HTTP\/1.1 200 OK[\s\S]*hi/)
    }),
  )
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1')
  await Promise.all(
    Array.from({ length: preface.length - 1 }, async (_, at) => {
      const socket = await dial(listener)
      socket.write(preface.subarray(0, at + 1))
      await sleep(30)
      socket.write(preface.subarray(at + 1))
      const [settings] = (await once(socket, 'data')) as [Buffer]
      expect(settings[3], 'a SETTINGS frame').toBe(4)
      socket.destroy()
    }),
  )
  await isIdle(listener)
})

test.each(['P', 'PR', 'PRI * HTTP/2.', 'G', ''])('a connection that says %j and no more holds nobody up', async text => {
  await using listener = await open()
  const [silent, ended, reset] = [await dial(listener), await dial(listener), await dial(listener)]
  for (const socket of [silent, ended, reset]) socket.write(text)
  await answers(listener)
  ended.end()
  reset.resetAndDestroy()
  await answers(listener)
  silent.destroy()
  ended.resume()
  await expect.poll(() => gauge(listener, 'connections')).toBe(0)
})

test('a client that has closed its side gets its answer', async () => {
  await using listener = await open()
  const socket = await dial(listener)
  socket.end('GET /later HTTP/1.1\r\nHost: a\r\n\r\n')
  expect(await received(socket)).toMatch(/^HTTP\/1.1 200 OK[\s\S]*later$/)
})

test.each([
  ['two hosts', 'Host: a\r\nhOST: b\r\n', 400],
  ['a compressed body', 'Host: a\r\nTransfer-Encoding: gzip, chunked\r\n', 501],
  ['no host', '', 400],
])('a request with %s is refused', async (_what, headers, status) => {
  await using listener = await open()
  const socket = await dial(listener)
  socket.write(`POST /echo HTTP/1.1\r\n${headers}\r\n`)
  expect(await received(socket)).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
})

test('headers and targets of 100 KB are taken, and of 200 KB refused', async () => {
  await using listener = await open()
  const long = 'a'.repeat(100_000)
  expect((await fetch(`${listener.url}/x`, { headers: { cookie: long } })).status).toBe(200)
  expect(await (await fetch(`${listener.url}/x?${long}`)).text()).toBe(`/x?${long}`)
  expect((await fetch(`${listener.url}/x`, { headers: { cookie: long + long } })).status).toBe(431)
  const session = connectHttp2(listener.url, { maxSendHeaderBlockLength: 200_000 })
  const [headers] = await once(session.request({ ':path': '/x', cookie: long }), 'response')
  expect(headers[':status']).toBe(200)
  session.destroy()
})

test('headers that do not come to an end are given up', async () => {
  await using listener = await open({ headersMs: 300 })
  const socket = await dial(listener)
  socket.write('GET / HTTP/1.1\r\nX: ')
  const drip = setInterval(() => socket.write('a'), 100)
  expect(await received(socket)).toMatch(/^HTTP\/1.1 408 /)
  clearInterval(drip)
})

test('a body that stands still is given up, one that moves is not', async () => {
  await using listener = await open({ bodyIdleMs: 600 })
  const head = 'POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 12\r\n\r\n'
  const drain: RequestListener = (req, res) => void req.resume().once('end', () => res.end('done'))
  await using other = await open({ bodyIdleMs: 600 }, drain)
  const stalled = [await dial(other), await dial(other)]
  for (const socket of stalled) socket.write(`${head}abc`)
  const moving = await dial(other)
  moving.write(head)
  const drip = setInterval(() => moving.write('x'), 150)
  const [first, , last] = await Promise.all([...stalled, moving].map(received))
  clearInterval(drip)
  expect(first).toMatch(/^HTTP\/1.1 408 [\s\S]*made no progress/)
  expect(last).toMatch(/^HTTP\/1.1 200 [\s\S]*done/)
  expect(gauge(other, 'requests_given_up_total')).toBe(2)

  const reader = await dial(listener)
  reader.write('GET /large HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(reader, 'readable')
  const session = connectHttp2(listener.url)
  session.on('error', () => undefined)
  const upload = session.request({ ':path': '/echo', ':method': 'POST' })
  const download = session.request({ ':path': '/large' })
  const closed = connectHttp2(listener.url, { settings: { initialWindowSize: 0 } })
  closed.on('error', () => undefined)
  const empty = closed.request({ ':path': '/empty' })
  for (const stream of [upload, download, empty]) stream.on('error', () => undefined)
  upload.write('abc')
  await Promise.all([upload, download, empty].map(stream => once(stream, 'close')))
  await isIdle(listener)
  expect(gauge(listener, 'requests_given_up_total')).toBe(4)
  reader.destroy()
  for (const one of [session, closed]) one.destroy()
})

test('requests sent without waiting for responses are served one after the other, and not read on meanwhile', async () => {
  let atOnce = 0
  let most = 0
  let read = 0
  const counting = async (req: IncomingMessage, res: ServerResponse) => {
    most = Math.max(most, ++atOnce)
    res.prependOnceListener('close', () => atOnce--)
    await sleep(req.url === '/held' ? 500 : 1)
    read = req.socket.bytesRead
    void req.pipe(res)
  }
  await using listener = await open({}, (req, res) => void counting(req, res))
  const many = Array.from({ length: 300 }, (_, at) => {
    const body = `<${at}>`
    return `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  })
  const socket = await dial(listener)
  socket.end(`${many.join('')}GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
  const answered = [...(await received(socket)).matchAll(/<(\d+)>/g)].map(([, at]) => Number(at))
  expect(answered).toEqual(many.map((_, at) => at))
  expect(most).toBe(1)

  const hasty = await dial(listener)
  hasty.write(`${many[0]}`)
  await once(hasty, 'data')
  read = 0
  hasty.write('GET /held HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(100_000))
  await expect.poll(() => read).toBeGreaterThan(0)
  expect(read, 'bytes taken while the first was served').toBeLessThan(300_000)
  hasty.destroy()
  await isIdle(listener)
  expect(most).toBe(1)
})

test('a body that the server is slow to take is not given up', async () => {
  const slow = async (req: IncomingMessage, res: ServerResponse) => {
    await sleep(1_500)
    let bytes = 0
    for await (const chunk of req) {
      bytes += chunk.length
      if (bytes === chunk.length) await sleep(1_500)
    }
    res.end(String(bytes))
  }
  await using listener = await open({ bodyIdleMs: 300 }, (req, res) => void slow(req, res))
  const body = Buffer.alloc(1024 * 1024)
  expect(await (await fetch(listener.url, { method: 'POST', body })).text()).toBe(String(body.length))
})

test('a client that left while its answer was made is noticed, one that waits for it is not taken for it', async () => {
  let left = 0
  await using listener = await open({ bodyIdleMs: 400 }, (req, res) => {
    res.once('close', () => {
      if (!res.writableFinished) left++
    })
    if (req.url === '/slow') setTimeout(() => res.end('slow'), 1_500)
  })
  const [waiting, leaving] = [await dial(listener), await dial(listener)]
  waiting.end('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  leaving.write('GET /never HTTP/1.1\r\nHost: a\r\n\r\n')
  await sleep(100)
  leaving.destroy()
  expect(await received(waiting)).toMatch(/HTTP\/1.1 200 OK[\s\S]*slow$/)
  await isIdle(listener)
  expect(left).toBe(1)
})

test('a client that leaves at any stage takes nothing along', async () => {
  await using listener = await open()
  const requests = [
    'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc',
    'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab',
    'GET /large HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET /later HTTP/1.1\r\nHost: a\r\n\r\n',
  ]
  for (const text of requests) {
    for (const pauseMs of [0, 20]) {
      for (const leave of ['destroy', 'resetAndDestroy', 'end'] as const) {
        const socket = await dial(listener)
        socket.write(text)
        await sleep(pauseMs)
        socket[leave]()
        if (leave === 'end') setTimeout(() => socket.destroy(), 500)
      }
    }
  }
  await isIdle(listener)
  await answers(listener)
})

test('a connection of HTTP/2 has a limited number of streams, and is closed when it has been idle', async () => {
  await using listener = await open({ http2StreamsMax: 10, sessionIdleMs: 400 })
  const session = connectHttp2(listener.url)
  const [settings] = await once(session, 'remoteSettings')
  expect(settings.maxConcurrentStreams).toBe(10)
  const stream = session.request({ ':path': '/later' }).resume()
  await once(stream, 'close')
  await once(session, 'close')
  await answers(listener)
})

test('a connection of HTTP/2 is closed with its client at any byte, after the answer of what was sent whole', async () => {
  await using listener = await open()
  const preface = `${Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n').toString('hex')}000000040000000000`
  // A POST of / with a DATA frame that isn't its last.
  const bytes = Buffer.from(`${preface}000006010400000001838486410161000003000000000001616263`, 'hex')
  await Promise.all(
    Array.from({ length: bytes.length }, async (_, at) => {
      const socket = await dial(listener)
      socket.write(bytes.subarray(0, at + 1))
      await sleep(20)
      if (at % 2 === 0) socket.end()
      else socket.resume().destroy()
    }),
  )
  await expect.poll(() => gauge(listener, 'connections'), { timeout: 15_000 }).toBe(0)
  await isIdle(listener)

  const asking = await dial(listener)
  asking.end(Buffer.from(`${preface}00000d01050000000182864101610406${Buffer.from('/later').toString('hex')}`, 'hex'))
  expect(await received(asking)).toContain('later')
  await expect.poll(() => gauge(listener, 'connections')).toBe(0)
})

test('a stop tells every client of HTTP/1 that its connection ends, and resets none', async () => {
  const listener = await open()
  const agent = new Agent({ keepAlive: true, maxSockets: 9 })
  const failures: unknown[] = []
  const endings: (string | undefined)[] = []
  const call = (path: string) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request(`${listener.url}${path}`, { agent }, response => response.resume().once('end', () => resolve(response)))
      sent.once('error', reject).end()
    })
  const client = async () => {
    for (;;) {
      const { headers } = await call('/x')
      if (headers.connection === 'close') return endings.push(headers.connection)
    }
  }
  const clients = Array.from({ length: 8 }, () => client().catch(reason => failures.push(reason)))
  await sleep(200)
  const later = call('/later')
  await sleep(100)
  const stopped = listener[Symbol.asyncDispose]()
  await Promise.all(clients)
  expect((await later).headers.connection).toBe('close')
  await stopped
  expect(failures).toEqual([])
  expect(endings).toHaveLength(8)
  await expect(fetch(listener.url)).rejects.toThrow()
})

test('a stop tells clients of HTTP/2, answers what they sent, and ends', async () => {
  const listener = await open()
  const session = connectHttp2(listener.url)
  await once(session, 'connect')
  const stream = session.request({ ':path': '/later' })
  await once(session, 'localSettings')
  const told = once(session, 'goaway')
  await sleep(100)
  const stopped = listener[Symbol.asyncDispose]()
  const [[code], [headers]] = await Promise.all([told, once(stream, 'response')])
  expect([code, headers[':status']]).toEqual([0, 200])
  stream.resume()
  await stopped
})
