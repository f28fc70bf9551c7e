import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { httpClient } from '../services/http.ts'
import { collecting, residentBytes } from '../services/memory.ts'
import { startMillrace } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'
import { openGcs } from './sites/gcs.ts'
import { openS3 } from './sites/s3.ts'

const base = '/api/2.0/mlflow-artifacts/artifacts'
const MIB = 1024 * 1024
const UPLOADS = 32
const BODY_BYTES = 24 * MIB
/** Every body is another part of it. */
const CONTENT = randomBytes(BODY_BYTES + UPLOADS)
const SAMPLE_MS = 50
const COLLECTING_MS = 300
/** Of bodies that are held, and 512 KiB of each stream. Held whole they reserve 768 MiB, and have been seen to take more than 300. */
const RESERVED_BYTES_MAX = 128 * MIB + UPLOADS * MIB * 0.5
/** Beside what is reserved. */
const GROWTH_BYTES_MAX = 64 * MIB

const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const body = (n: number) => CONTENT.subarray(n, n + BODY_BYTES)

for (const [name, open] of [
  ['S3', openS3],
  ['Google Cloud Storage', openGcs],
] as const) {
  await describeWithServer(`many uploads to ${name}`, open, site => {
    test('all arrive whole, in the memory that is there for holding bodies', async () => {
      await using folder = await tempFolder('many-uploads')
      const start = (env: Record<string, string>) =>
        startMillrace({
          cwd: folder.path,
          backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
          artifactsDestination: site.destination,
          env: { ...site.env, ...env },
        })
      await using server = await start(collecting(COLLECTING_MS))
      using client = httpClient(server.url)
      const path = (n: number) => `${base}/f/${n}.bin`
      const reservedBytes = async () => {
        const { text } = await client.send('GET', '/metrics')
        return Number(/^millrace_artifact_bytes_in_flight (\d+)$/m.exec(text)?.[1])
      }
      expect((await client.send('PUT', path(0), body(0))).status).toBe(200)
      const before = await residentBytes(server.process.pid)
      let answers: number[] | undefined
      const uploading = Promise.all(Array.from({ length: UPLOADS }, (_, n) => client.send('PUT', path(n), body(n)))).then(all => {
        answers = all.map(({ status }) => status)
      })
      const most = { resident: 0, reserved: 0 }
      while (!answers) {
        most.resident = Math.max(most.resident, await residentBytes(server.process.pid))
        most.reserved = Math.max(most.reserved, await reservedBytes())
        await Promise.race([sleep(SAMPLE_MS), uploading])
      }
      expect(answers).toEqual(answers.map(() => 200))
      expect(most.reserved).toBeGreaterThan(0)
      expect(most.reserved).toBeLessThanOrEqual(RESERVED_BYTES_MAX)
      expect(most.resident - before).toBeLessThan(RESERVED_BYTES_MAX + GROWTH_BYTES_MAX)
      expect(await reservedBytes()).toBe(0)
      await using other = await start({})
      using reader = httpClient(other.url)
      for (let n = 0; n < UPLOADS; n += 4) expect(sha((await reader.send('GET', path(n))).body), String(n)).toBe(sha(body(n)))
      const { files } = await reader.ok<{ files: { file_size: number }[] }>('GET', `${base}?path=f`)
      expect(files.map(({ file_size }) => Number(file_size))).toEqual(Array.from({ length: UPLOADS }, () => BODY_BYTES))
      expect(await site.contents()).toHaveLength(UPLOADS)
    })
  })
}
