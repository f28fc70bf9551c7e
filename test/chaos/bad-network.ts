import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { get, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { type Answer, type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { eventually, type TempFolder, tempFolder } from '../services/process.ts'
import { BUSY, type Site } from './sites/site.ts'

const base = '/api/2.0/mlflow-artifacts/artifacts'
const SMALL = Buffer.from('what was there before')
const BIG = randomBytes(24 * 1024 * 1024)
const CUT_AFTER_BYTES = 3 * 1024 * 1024
const TIMEOUT_SECONDS = 2
/** Of the server: its own limit, for the call and for taking it back, and what it takes to tell. */
const GIVEN_UP_MS_MAX = 2 * TIMEOUT_SECONDS * 1000 + 3_000

/** Of a store that is so slow that parts of an upload wait. */
const SLOW_BYTES_PER_SECOND = 256 * 1024
/** More than any store takes in the time. */
const ENDLESS_BYTES = 4 * 1024 ** 3
const ENDLESS_MS = 3_000
/** What an upload may be ahead of its store: parts in memory, and what the sockets on the way hold. */
const AHEAD_BYTES_MAX = 96 * 1024 * 1024

function failureOf({ status, text }: Answer): { status: number; errorCode: string } {
  const { error_code } = JSON.parse(text) as { error_code: string }
  return { status, errorCode: error_code }
}

const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Sends as fast as the server takes it for a while, and dies. @returns bytes that left this process, until there was an answer. */
async function endlessUpload(port: number, path: string): Promise<number> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`PUT ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: ${ENDLESS_BYTES}\r\n\r\n`)
  const chunk = Buffer.alloc(1024 * 1024, 7)
  const more = () => {
    while (socket.writable && socket.write(chunk));
  }
  socket.on('drain', more)
  more()
  const answered = new AbortController()
  socket.once('data', () => answered.abort())
  await sleep(ENDLESS_MS, undefined, { signal: answered.signal }).catch(() => {})
  const sent = socket.bytesWritten - socket.writableLength
  socket.resetAndDestroy()
  return sent
}

interface PausedUpload {
  isHalfSent: Promise<void>
  /** Fails when the connection breaks before the server has taken what `finish` sends. */
  isSent: Promise<void>
  /** Sends the other half, as far as it is taken. */
  finish(): Promise<Answer>
}

function pausedUpload(port: number, path: string, lengthBytes: number): PausedUpload {
  const half = Buffer.alloc(lengthBytes / 2, 7)
  const sent = request({ port, host: '127.0.0.1', method: 'PUT', path, headers: { 'Content-Length': lengthBytes } })
  const answer = new Promise<Answer>((resolve, reject) => {
    sent.once('error', reject)
    sent.once('response', response => {
      const { statusCode: status = 0, headers } = response
      buffer(response).then(body => {
        const text = body.toString()
        resolve({ status, headers, body, text, json: () => JSON.parse(text) })
      }, reject)
    })
  })
  const isSent = new Promise<void>((resolve, reject) => {
    sent.once('finish', resolve)
    sent.once('error', reject)
  })
  for (const promise of [answer, isSent]) promise.catch(() => undefined)
  return {
    isHalfSent: new Promise(resolve => sent.write(half, () => resolve())),
    isSent,
    finish() {
      sent.end(half)
      return answer
    },
  }
}

/** Calls `onBytes` with what came so far; rejects when the body ends before its announced length. */
function download(url: string, onBytes: (count: number) => void = () => {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = get(url, response => {
      let count = 0
      response.on('data', chunk => {
        count += chunk.length
        onBytes(count)
      })
      response.once('error', reject)
      response.once('end', () => resolve(count))
    })
    sent.once('error', reject)
  })
}

/** What every store that is reached over a network has to withstand. */
export async function testBadNetwork(name: string, open: () => Promise<Site>): Promise<void> {
  await describeWithServer(`${name} behind a bad network`, open, site => {
    let folder: TempFolder
    let server: Millrace
    let client: HttpClient

    const start = async (settings: { destination?: string; env?: Record<string, string> } = {}) =>
      startMillrace({
        cwd: folder.path,
        backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
        artifactsDestination: settings.destination ?? site.destination,
        env: { ...site.env, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: String(TIMEOUT_SECONDS), ...settings.env },
      })

    /** The calls that the store takes part in. */
    const everyCall = () => ({
      put: client.send('PUT', `${base}/f/new.txt`, SMALL),
      get: client.send('GET', `${base}/f/small.txt`),
      list: client.send('GET', `${base}?path=f`),
      delete: client.send('DELETE', `${base}/f/absent.txt`),
    })

    const contents = async () => {
      const names = await site.contents()
      return site.keepsHidden ? names.filter(name => !name.includes('.artifact.uploading.')) : names
    }

    /** Without a restart everything works again, and nothing but the two objects is there. */
    const expectRecovered = async () => {
      site.api?.set()
      await site.network.set({})
      await eventually('the store is used again', async () =>
        (await client.send('GET', `${base}/f/small.txt`)).status === 200 ? true : undefined,
      )
      const { files } = await client.ok<{ files: { path: string }[] }>('GET', `${base}?path=f`)
      expect(files.map(file => file.path)).toEqual(['big.bin', 'small.txt'])
      expect((await client.send('GET', `${base}/f/new.txt`)).status).toBe(404)
      expect(sha((await client.send('GET', `${base}/f/big.bin`)).body)).toBe(sha(BIG))
      await eventually('nothing is left behind', async () => ((await contents()).length === 2 ? true : undefined)).catch(async () =>
        expect(await contents()).toHaveLength(2),
      )
      expect((await client.send('PUT', `${base}/f/again.txt`, SMALL)).status).toBe(200)
      expect((await client.send('DELETE', `${base}/f/again.txt`)).status).toBe(200)
    }

    beforeAll(async () => {
      folder = await tempFolder('faults')
      server = await start()
      client = httpClient(server.url)
      expect((await client.send('PUT', `${base}/f/small.txt`, SMALL)).status).toBe(200)
      expect((await client.send('PUT', `${base}/f/big.bin`, BIG)).status).toBe(200)
    })

    afterEach(async () => {
      site.api?.set()
      await site.network.set({})
    })

    afterAll(async () => {
      client?.[Symbol.dispose]()
      await server?.[Symbol.asyncDispose]()
      await folder?.[Symbol.asyncDispose]()
    })

    test('a store that is down is 503 to every call', async () => {
      await site.network.set({ mode: 'refuse' })
      for (const [call, answer] of Object.entries(everyCall())) expect(failureOf(await answer), call).toEqual(BUSY)
      await expectRecovered()
    })

    test('a server that starts while its store is down says so in /ready and uses the store once it is up', async () => {
      await site.network.set({ mode: 'refuse' })
      await using late = await start()
      expect((await fetch(`${late.url}/ready`)).status).toBe(503)
      await site.network.set({})
      await eventually('the server is ready', async () => ((await fetch(`${late.url}/ready`)).ok ? true : undefined))
      expect(await download(`${late.url}${base}/f/big.bin`)).toBe(BIG.length)
    })

    test('a slow store works', async () => {
      await site.network.set({ latencyMs: 150 })
      for (const [call, answer] of Object.entries(everyCall())) expect((await answer).status, call).toBe(200)
      await client.send('DELETE', `${base}/f/new.txt`)
      await site.network.set({ latencyMs: 20, bytesPerSecond: 16 * 1024 * 1024 })
      expect(sha((await client.send('GET', `${base}/f/big.bin`)).body)).toBe(sha(BIG))
      expect((await client.send('PUT', `${base}/f/big.bin`, BIG)).status).toBe(200)
      await expectRecovered()
    })

    test('a download whose connection to the store is cut goes on where it was', async () => {
      // Until its time tells it apart from every other version.
      await sleep(3_000)
      await site.network.set({ cut: { direction: 'down', afterBytes: CUT_AFTER_BYTES } })
      expect(await download(`${server.url}${base}/f/big.bin`)).toBe(BIG.length)
      await expectRecovered()
    })

    test('a download from a store that falls silent ends broken within the timeout', async () => {
      const begun = performance.now()
      let silenced = false
      const silence = (count: number) => {
        if (silenced || count < CUT_AFTER_BYTES) return
        silenced = true
        void site.network.set({ mode: 'silent' })
      }
      await site.network.set({ bytesPerSecond: 16 * 1024 * 1024 })
      await expect(download(`${server.url}${base}/f/big.bin`, silence)).rejects.toThrow()
      expect(performance.now() - begun).toBeLessThan(GIVEN_UP_MS_MAX)
      await expectRecovered()
    })

    test('an upload whose connection to the store is cut is an error, and leaves what was there', async () => {
      await site.network.set({ cut: { direction: 'up', afterBytes: CUT_AFTER_BYTES } })
      expect(failureOf(await client.send('PUT', `${base}/f/new.txt`, BIG))).toEqual(BUSY)
      expect(failureOf(await client.send('PUT', `${base}/f/big.bin`, Buffer.alloc(BIG.length)))).toEqual(BUSY)
      await expectRecovered()
    })

    test('a silent store is given up within the timeout, whatever the call', async () => {
      await site.network.set({ mode: 'silent' })
      const begun = performance.now()
      for (const [call, answer] of Object.entries(everyCall())) {
        const { status, errorCode } = failureOf(await answer)
        expect([503, 504], call).toContain(status)
        expect(['TEMPORARILY_UNAVAILABLE', 'DEADLINE_EXCEEDED'], call).toContain(errorCode)
        expect(performance.now() - begun, call).toBeLessThan(GIVEN_UP_MS_MAX)
      }
      await expectRecovered()
    })

    test('an upload to a store that falls silent is given up within the timeout', async () => {
      await site.network.set({ bytesPerSecond: 8 * 1024 * 1024 })
      const answer = client.send('PUT', `${base}/f/new.txt`, BIG)
      await sleep(500)
      await site.network.set({ mode: 'silent' })
      const begun = performance.now()
      expect([503, 504]).toContain((await answer).status)
      expect(performance.now() - begun).toBeLessThan(GIVEN_UP_MS_MAX)
      await expectRecovered()
    })

    test('a client may pause for longer than its store may be silent', async () => {
      const upload = pausedUpload(server.port, `${base}/f/new.txt`, BIG.length)
      await upload.isHalfSent
      await sleep((TIMEOUT_SECONDS + 1) * 1000)
      expect((await upload.finish()).status).toBe(200)
      expect((await client.send('DELETE', `${base}/f/new.txt`)).status).toBe(200)
      await expectRecovered()
    })

    test('a client may stop reading for longer than its store may be silent', async () => {
      const body = await new Promise<IncomingMessage>((resolve, reject) =>
        get(`${server.url}${base}/f/big.bin`, resolve).once('error', reject),
      )
      await once(body, 'readable')
      await sleep((TIMEOUT_SECONDS + 1) * 1000)
      expect(sha(await buffer(body))).toBe(sha(BIG))
      await expectRecovered()
    })

    test('what a client still sends after it was told is read', async () => {
      // More than sockets hold.
      const upload = pausedUpload(server.port, `${base}/f/new.txt`, 2 * BIG.length)
      await upload.isHalfSent
      await site.network.set({ mode: 'silent' })
      expect([503, 504]).toContain((await upload.finish()).status)
      await upload.isSent
      await expectRecovered()
    })

    test('a store that is killed in the middle of an upload: told, nothing half is there, and used again once it is back', async () => {
      await site.server.settle?.()
      const [fresh, replacing] = ['new.txt', 'big.bin'].map(path => pausedUpload(server.port, `${base}/f/${path}`, BIG.length))
      await Promise.all([fresh?.isHalfSent, replacing?.isHalfSent])
      // An upload that is just being begun would stay in the store, by an id that nobody was told.
      await sleep(2_000)
      await site.server.kill()
      for (const answer of await Promise.all([fresh?.finish(), replacing?.finish()])) {
        expect(answer?.status).toBe(503)
        expect(failureOf(answer as Answer)).toEqual(BUSY)
      }
      for (const [call, answer] of Object.entries(everyCall())) expect(failureOf(await answer), call).toEqual(BUSY)
      await site.server.begin()
      await expectRecovered()
    })

    test('a store that takes little holds its clients back', async () => {
      await site.network.set({ bytesPerSecond: SLOW_BYTES_PER_SECOND })
      const taken = await Promise.all(Array.from({ length: 4 }, (_, n) => endlessUpload(server.port, `${base}/f/endless-${n}.bin`)))
      for (const bytes of taken) expect(bytes).toBeLessThan(AHEAD_BYTES_MAX)
      await expectRecovered()
    })

    for (const { name: what, answer, status, errorCode, isRepeated } of site.api?.answers ?? []) {
      test(`${what} is told, and leaves nothing of an upload`, async () => {
        if (isRepeated) {
          site.api?.set({ answer, times: 1 })
          expect((await client.send('GET', `${base}/f/small.txt`)).status).toBe(200)
        }
        site.api?.set({ answer })
        for (const [call, told] of Object.entries(everyCall())) expect(failureOf(await told), call).toEqual({ status, errorCode })
        // An upload that fails may still be taken back.
        site.api?.set({ answer, except: 'DELETE' })
        for (const path of ['new.txt', 'big.bin']) {
          expect(failureOf(await client.send('PUT', `${base}/f/${path}`, Buffer.alloc(BIG.length))), path).toEqual({ status, errorCode })
        }
        expect((await client.send('GET', '/health')).status).toBe(200)
        await expectRecovered()
      })
    }

    for (const refusal of site.refusals) {
      test(`${refusal.name}: told without showing a secret`, async () => {
        await using refused = await start(refusal)
        using own = httpClient(refused.url)
        for (const answer of [
          await own.send('PUT', `${base}/f/new.txt`, BIG),
          await own.send('PUT', `${base}/f/new.txt`, SMALL),
          await own.send('GET', `${base}/f/small.txt`),
          await own.send('GET', `${base}?path=f`),
          await own.send('DELETE', `${base}/f/small.txt`),
        ]) {
          expect(failureOf(answer), refusal.name).toEqual({ status: refusal.status, errorCode: refusal.errorCode })
          for (const secret of refusal.secrets) expect(answer.text).not.toContain(secret)
        }
        const ready = await own.send('GET', '/ready')
        expect(ready.status).toBe(503)
        for (const secret of refusal.secrets) expect(ready.text + refused.process.log()).not.toContain(secret)
        await expectRecovered()
      })
    }
  })
}
