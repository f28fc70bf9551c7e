import { randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { type TempFolder, tempFolder } from '../services/process.ts'
import { openAzureSessions } from './sessions/azure.ts'
import { openGcsSessions } from './sessions/gcs.ts'
import { openS3Sessions } from './sessions/s3.ts'
import type { SessionSite } from './sessions/session-site.ts'

const base = '/api/2.0/mlflow-artifacts/artifacts'
const SMALL = Buffer.from('small')
const BIG = randomBytes(24 * 1024 * 1024)
/** What is uploaded before the session ends: a part and a half. */
const BEFORE_BYTES = 12 * 1024 * 1024
const READERS = 12
/** A server that is refused once more asks for another session only after a while. */
const RENEWAL_INTERVAL_MS = 1_000

/** Sends half of a body of unknown length, waits for `between`, and sends the rest. */
function pausedUpload(url: string, body: Buffer, between: () => Promise<void>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'PUT' }, response => {
      response.resume()
      response.once('end', () => resolve(response.statusCode))
    })
    sent.once('error', reject)
    sent.write(body.subarray(0, BEFORE_BYTES), () => between().then(() => sent.end(body.subarray(BEFORE_BYTES)), reject))
  })
}

interface Passage {
  /** Bodies of known length pass through without being held, so that they can't be sent again once something of them was taken. */
  passes?: boolean
  env?: Record<string, string>
}

async function testSessions(
  name: string,
  open: () => Promise<SessionSite>,
  { passes = false, env: more = {} }: Passage = {},
): Promise<void> {
  await describeWithServer(`${name}: sessions that end before their time`, open, site => {
    let folder: TempFolder
    let server: Millrace
    let client: HttpClient

    const expectWhole = async (path: string) => {
      const { status, body } = await client.send('GET', `${base}/f/${path}`)
      expect([status, body.equals(BIG)]).toEqual([200, true])
    }

    beforeAll(async () => {
      folder = await tempFolder('sessions')
      const { destination: artifactsDestination, env } = site
      server = await startMillrace({
        cwd: folder.path,
        backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
        artifactsDestination,
        env: { ...env, ...more },
      })
      client = httpClient(server.url)
      expect((await client.send('PUT', `${base}/f/small.txt`, SMALL)).status).toBe(200)
    })

    beforeEach(() => sleep(RENEWAL_INTERVAL_MS))

    afterAll(async () => {
      client?.[Symbol.dispose]()
      await server?.[Symbol.asyncDispose]()
      await folder?.[Symbol.asyncDispose]()
    })

    test('calls at the same time get one new session, and no client hears of it', async () => {
      await site.end()
      const before = site.given()
      const answers = await Promise.all([
        client.send('PUT', `${base}/f/new.txt`, SMALL),
        client.send('GET', `${base}/f/small.txt`),
        client.send('GET', `${base}?path=f`),
        client.send('DELETE', `${base}/f/absent.txt`),
        ...Array.from({ length: READERS }, () => client.send('GET', `${base}/f/small.txt`)),
      ])
      expect(answers.map(({ status }) => status)).toEqual(Array(4 + READERS).fill(200))
      expect(site.given() - before).toBe(1)
      expect((await client.send('DELETE', `${base}/f/new.txt`)).status).toBe(200)
    })

    test('an upload goes on when its session ends in the middle of it', async () => {
      const before = site.given()
      expect(await pausedUpload(`${server.url}${base}/f/paused.bin`, BIG, site.end)).toBe(200)
      expect(site.given() - before).toBe(1)
      await expectWhole('paused.bin')
    })

    test('an upload that meets an ended session is whole, or told and followed by one that works', async () => {
      await site.end()
      const { status, text } = await client.send('PUT', `${base}/f/big.bin`, BIG)
      if (!passes) expect(status).toBe(200)
      else if (status !== 200) {
        const { refusal } = site
        expect([refusal.status, 503]).toContain(status)
        expect(JSON.parse(text)).toMatchObject({ error_code: status === 503 ? 'TEMPORARILY_UNAVAILABLE' : refusal.errorCode })
        expect((await client.send('GET', `${base}/f/big.bin`)).status).toBe(404)
        expect((await client.send('PUT', `${base}/f/big.bin`, BIG)).status).toBe(200)
      }
      await expectWhole('big.bin')
      expect((await site.contents()).map(path => path.split('/').at(-1))).toEqual(['big.bin', 'paused.bin', 'small.txt'])
    })
  })
}

/** No room to hold a body. */
const PASSING: Passage = { passes: true, env: { MILLRACE_ARTIFACT_HELD_BYTES_MAX: '0' } }

await testSessions('Google Cloud Storage', openGcsSessions)
await testSessions('Google Cloud Storage, bodies that pass through', openGcsSessions, PASSING)
await testSessions('Azure', openAzureSessions, { passes: true })
await testSessions('S3', openS3Sessions)
await testSessions('S3, bodies that pass through', openS3Sessions, PASSING)
