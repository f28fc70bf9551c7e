import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { httpClient } from '../services/http.ts'
import { collecting, residentBytes } from '../services/memory.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { eventually, tempFolder } from '../services/process.ts'
import { openAzure } from './sites/azure.ts'
import { openFtp } from './sites/ftp.ts'
import { openGcs } from './sites/gcs.ts'
import { openHttp } from './sites/http.ts'
import { openS3 } from './sites/s3.ts'
import { openSftp } from './sites/sftp.ts'

const base = '/api/2.0/mlflow-artifacts/artifacts'
const TRANSFERS_EACH_WAY = 12
const BODY = randomBytes(32 * 1024 * 1024)
const TIMEOUT_SECONDS = 5
/** Of each connection to the store: no transfer is over before the store falls silent. */
const BYTES_PER_SECOND = 4 * 1024 * 1024
const BEGUN_BYTES = 4 * 1024 * 1024
const SAMPLE_MS = 100
const TEST_TIMEOUT_MS = 180_000
/** Beside what the transfers have reserved. Bodies that are held whole take 384 MiB each way. */
const GROWTH_BYTES_MAX = 128 * 1024 * 1024

async function download(url: string, onBytes: (count: number) => void = () => {}): Promise<number> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`status ${response.status}`)
  let count = 0
  for await (const chunk of response.body ?? []) {
    count += chunk.length
    onBytes(chunk.length)
  }
  return count
}

/** Most of what a process holds, and of what its transfers have reserved, from now until it is stopped. */
function watchMemory(server: Millrace, reservedBytes: () => Promise<number>): () => Promise<{ resident: number; reserved: number }> {
  const stop = new AbortController()
  const most = { resident: 0, reserved: 0 }
  const watching = (async () => {
    while (!stop.signal.aborted) {
      most.reserved = Math.max(most.reserved, await reservedBytes())
      most.resident = Math.max(most.resident, await residentBytes(server.process.pid))
      await sleep(SAMPLE_MS)
    }
    return most
  })()
  watching.catch(() => undefined)
  return () => {
    stop.abort()
    return watching
  }
}

for (const [name, open] of [
  ['S3', openS3],
  ['Azure', openAzure],
  ['Google Cloud Storage', openGcs],
  ['FTP', openFtp],
  ['SFTP', openSftp],
  ['another tracking server', openHttp],
] as const) {
  await describeWithServer(`${name} that falls silent`, open, site => {
    test('transfers that it holds up take no more memory than they have reserved; then it is used again', {
      timeout: TEST_TIMEOUT_MS,
    }, async () => {
      await using folder = await tempFolder('stalled')
      await using server = await startMillrace({
        cwd: folder.path,
        backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
        artifactsDestination: site.destination,
        env: { ...site.env, ...collecting(), MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: String(TIMEOUT_SECONDS) },
      })
      using client = httpClient(server.url)
      const put = (path: string) => client.send('PUT', `${base}/f/${path}`, BODY)
      const get = (onBytes?: (count: number) => void) => download(`${server.url}${base}/f/big.bin`, onBytes)
      const reservedBytes = async () => {
        const { text } = await client.send('GET', '/metrics')
        return Number(/^millrace_artifact_bytes_in_flight (\d+)$/m.exec(text)?.[1])
      }
      expect((await put('big.bin')).status).toBe(200)
      expect(await get()).toBe(BODY.length)
      const before = await residentBytes(server.process.pid)
      const mostOf = watchMemory(server, reservedBytes)

      await site.network.set({ bytesPerSecond: BYTES_PER_SECOND })
      let arrivedBytes = 0
      const count = (bytes: number) => {
        arrivedBytes += bytes
      }
      const uploads = Array.from({ length: TRANSFERS_EACH_WAY }, (_, n) => put(`new-${n}.bin`))
      const downloads = Promise.allSettled(Array.from({ length: TRANSFERS_EACH_WAY }, () => get(count)))
      await eventually('downloads have begun', async () => (arrivedBytes > BEGUN_BYTES ? true : undefined))
      await site.network.set({ mode: 'silent' })
      for (const { status, text } of await Promise.all(uploads)) expect([503, 504], text).toContain(status)
      for (const { status } of await downloads) expect(status).toBe('rejected')

      await site.network.set({})
      await eventually('the store is used again', async () => ((await get().catch(() => 0)) === BODY.length ? true : undefined))
      await eventually('nothing is reserved', async () => ((await reservedBytes()) === 0 ? true : undefined))
      const { resident, reserved } = await mostOf()
      expect(resident - before).toBeLessThan(reserved + GROWTH_BYTES_MAX)
      expect((await put('big.bin')).status).toBe(200)
      const names = await site.contents()
      expect(names.filter(path => !site.keepsHidden || !path.includes('.artifact.uploading.'))).toHaveLength(1)
    })
  })
}
