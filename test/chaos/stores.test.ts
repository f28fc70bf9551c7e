import { createHash, randomBytes } from 'node:crypto'
import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../services/backends.ts'
import { type Answer, type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { eventually, type TempFolder, tempFolder } from '../services/process.ts'
import { type Site, stores } from './store-sites.ts'

const base = '/api/2.0/mlflow-artifacts/artifacts'
const SMALL = Buffer.from('what was there before')
const BIG = randomBytes(24 * 1024 * 1024)
const CUT_AFTER_BYTES = 3 * 1024 * 1024
const TIMEOUT_SECONDS = 2
/** Of the server: its own limit, and what it takes to give up and tell. */
const GIVEN_UP_MS_MAX = TIMEOUT_SECONDS * 1000 + 3_000

const UNREACHABLE = { status: 503, errorCode: 'TEMPORARILY_UNAVAILABLE' }

function failureOf({ status, text }: Answer): { status: number; errorCode: string } {
  const { error_code } = JSON.parse(text) as { error_code: string }
  return { status, errorCode: error_code }
}

const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

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

for (const [name, store] of Object.entries(stores)) {
  describeWith(store.needs, `${name} behind a bad network`, () => {
    let folder: TempFolder
    let site: Site
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

    /** Without a restart everything works again, and nothing but the two objects is there. */
    const expectRecovered = async () => {
      await site.network.set({})
      await eventually('the store is used again', async () =>
        (await client.send('GET', `${base}/f/small.txt`)).status === 200 ? true : undefined,
      )
      const { files } = await client.ok<{ files: { path: string }[] }>('GET', `${base}?path=f`)
      expect(files.map(file => file.path)).toEqual(['big.bin', 'small.txt'])
      expect((await client.send('GET', `${base}/f/new.txt`)).status).toBe(404)
      expect(sha((await client.send('GET', `${base}/f/big.bin`)).body)).toBe(sha(BIG))
      await eventually('nothing is left behind', async () => ((await site.contents()).length === 2 ? true : undefined)).catch(async () =>
        expect(await site.contents()).toHaveLength(2),
      )
      expect((await client.send('PUT', `${base}/f/again.txt`, SMALL)).status).toBe(200)
      expect((await client.send('DELETE', `${base}/f/again.txt`)).status).toBe(200)
    }

    beforeAll(async () => {
      folder = await tempFolder('faults')
      site = await store.open()
      server = await start()
      client = httpClient(server.url)
      expect((await client.send('PUT', `${base}/f/small.txt`, SMALL)).status).toBe(200)
      expect((await client.send('PUT', `${base}/f/big.bin`, BIG)).status).toBe(200)
    })

    afterEach(() => site.network.set({}))

    afterAll(async () => {
      client?.[Symbol.dispose]()
      await server?.[Symbol.asyncDispose]()
      await site?.[Symbol.asyncDispose]()
      await folder?.[Symbol.asyncDispose]()
    })

    test('a store that is down is 503 to every call', async () => {
      await site.network.set({ mode: 'refuse' })
      for (const [call, answer] of Object.entries(everyCall())) expect(failureOf(await answer), call).toEqual(UNREACHABLE)
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

    test('a download whose connection to the store is cut ends broken, not short', async () => {
      await site.network.set({ cut: { direction: 'down', afterBytes: CUT_AFTER_BYTES } })
      await expect(download(`${server.url}${base}/f/big.bin`)).rejects.toThrow()
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
      expect(performance.now() - begun).toBeLessThan(GIVEN_UP_MS_MAX + 2_000)
      await expectRecovered()
    })

    test('an upload whose connection to the store is cut is an error, and leaves what was there', async () => {
      await site.network.set({ cut: { direction: 'up', afterBytes: CUT_AFTER_BYTES } })
      expect(failureOf(await client.send('PUT', `${base}/f/new.txt`, BIG))).toEqual(UNREACHABLE)
      expect(failureOf(await client.send('PUT', `${base}/f/big.bin`, Buffer.alloc(BIG.length)))).toEqual(UNREACHABLE)
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

    test('settings that the store refuses are told without showing a secret', async () => {
      for (const refusal of site.refusals) {
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
      }
      await expectRecovered()
    })
  })
}
