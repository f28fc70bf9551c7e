import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { describeWithServer } from '../../../test/services/backends.ts'
import { createGcsBucket, startGcs } from '../../../test/services/gcs.ts'
import { bodyOf, digest, generated, text } from '../src/conformance/bodies.ts'
import type { GcsMultipart } from '../src/drivers/gcs/multipart.ts'
import { openGcsScheme } from '../src/drivers/gcs/scheme.ts'
import { gcsConfig } from './gcs-server.ts'

const CHUNK_BYTES = 256 * 1024

await describeWithServer(
  'fake-gcs-server',
  () => startGcs(),
  server => {
    const open = async (env: Record<string, string> = {}) => {
      const bucket = await createGcsBucket(server)
      const scheme = openGcsScheme(gcsConfig({ ...server.env, ...env }))
      return { bucket, driver: await scheme.open(`${bucket.uri}/root`), [Symbol.asyncDispose]: () => scheme[Symbol.asyncDispose]() }
    }

    test('more parts than one compose takes are joined in their order, and nothing else is left', async () => {
      await using opened = await open()
      const { bucket, driver } = opened
      const multipart = driver.multipart as GcsMultipart
      const bodies = Array.from({ length: 70 }, (_, i) => `part ${i + 1};`)
      const { uploadId, parts } = await multipart.start('many.csv', bodies.length)
      const sent = await Promise.all(
        parts.map(async ({ partNumber, url, headers }, i) => {
          const answer = await fetch(url, { method: 'PUT', headers, body: bodies[i] })
          return { partNumber, etag: answer.headers.get('etag') ?? '', url }
        }),
      )
      const found = []
      for await (const upload of multipart.openUploads(Date.now() + 1)) found.push(upload)
      expect(found).toEqual([{ key: 'many.csv', uploadId, startedTime: expect.any(Number) }])
      const wrong = sent.with(1, { partNumber: 2, etag: '"00000000000000000000000000000000"', url: '' })
      await expect(multipart.complete('many.csv', uploadId, wrong)).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
      await expect(multipart.complete('other', uploadId, sent)).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
      await Promise.all([multipart.complete('many.csv', uploadId, sent), multipart.complete('many.csv', uploadId, sent)])
      expect(await text((await driver.read('many.csv')).body)).toBe(bodies.join(''))
      expect(await bucket.names('')).toEqual(['root/many.csv'])
      await driver.write('many.csv', bodyOf('newer'))
      await expect(multipart.complete('many.csv', uploadId, sent)).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
    })

    test('chunks of MLflow’s sizes pass what the store holds unchanged', async () => {
      const sizes = { MLFLOW_GCS_UPLOAD_CHUNK_SIZE: String(CHUNK_BYTES), MLFLOW_GCS_DOWNLOAD_CHUNK_SIZE: String(CHUNK_BYTES) }
      await using opened = await open(sizes)
      const { driver } = opened
      for (const size of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, CHUNK_BYTES * 3]) {
        await driver.write('chunks', generated(size))
        expect(await digest((await driver.read('chunks')).body)).toEqual(await digest(generated(size)))
      }
      const content = randomBytes(CHUNK_BYTES * 2 + 10)
      await driver.write('chunks', bodyOf(content))
      const { body, length } = await driver.read('chunks', { range: { start: 5, end: CHUNK_BYTES + 50 } })
      const found = await digest(body)
      expect([length, found]).toEqual([CHUNK_BYTES + 46, await digest(bodyOf(content.subarray(5, CHUNK_BYTES + 51)))])
    })

    test('URLs for clients have the public endpoint', async () => {
      await using opened = await open({ MILLRACE_GCS_PUBLIC_ENDPOINT: 'https://files.example/gcs' })
      const { bucket, driver } = opened
      await driver.write('a b', bodyOf('1'))
      const { url } = (await driver.presign?.download('a b', 60)) ?? {}
      expect(url).toMatch(`https://files.example/gcs/${bucket.name}/root/a%20b?X-Goog-Algorithm=GOOG4-RSA-SHA256&`)
      const started = await driver.multipart?.start('k', 1)
      expect(started?.parts[0]?.url).toMatch('https://files.example/gcs/')
    })
  },
)
