import { createHash } from 'node:crypto'
import { type IncomingMessage, request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { createBucket, describeWith } from '../../../test/services/backends.ts'
import { tempFolder } from '../../../test/services/process.ts'
import { generated } from '../src/conformance/bodies.ts'
import { openFrontDoor } from './front-door.ts'

const SIZE_BYTES = 12_000_000
const CUT_AT_BYTES = 3_000_000

const digestOf = (...parts: Buffer[]) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex')

/** The first bytes of a download whose connection is then cut, and the version it was of. */
function cutDownload(url: string): Promise<{ part: Buffer; etag: string; lastModified: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent: false }, (response: IncomingMessage) => {
      const chunks: Buffer[] = []
      let length = 0
      response.on('error', () => undefined)
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        length += chunk.length
        if (length < CUT_AT_BYTES) return
        sent.destroy()
        const { etag = '', 'last-modified': lastModified = '' } = response.headers
        resolve({ part: Buffer.concat(chunks), etag, lastModified })
      })
    }).end()
    sent.once('error', reject)
  })
}

async function resumes(destination: string, env: Record<string, string>, apart: boolean): Promise<void> {
  await using door = await openFrontDoor(destination, { env, apart })
  const url = `${door.url}/models/big.bin`
  const put = async (body: Buffer) => expect((await fetch(url, { method: 'PUT', body: new Uint8Array(body) })).status).toBe(200)
  const whole = await buffer(generated(SIZE_BYTES))
  await put(whole)

  const { part, etag, lastModified } = await cutDownload(url)
  expect(part.length).toBeLessThan(SIZE_BYTES)
  const range = { Range: `bytes=${part.length}-` }
  for (const version of [etag, lastModified]) {
    const rest = await fetch(url, { headers: { ...range, 'If-Range': version } })
    expect([rest.status, rest.headers.get('etag')]).toEqual([206, etag])
    expect(rest.headers.get('content-range')).toBe(`bytes ${part.length}-${SIZE_BYTES - 1}/${SIZE_BYTES}`)
    expect(digestOf(part, Buffer.from(await rest.arrayBuffer()))).toBe(digestOf(whole))
  }

  const changed = await buffer(generated(SIZE_BYTES - 10))
  changed[0] = 255
  await put(changed)
  const again = await fetch(url, { headers: { ...range, 'If-Range': etag } })
  expect([again.status, again.headers.get('content-range'), again.headers.get('content-length')]).toEqual([
    200,
    null,
    String(changed.length),
  ])
  expect(again.headers.get('etag')).not.toBe(etag)
  expect(digestOf(Buffer.from(await again.arrayBuffer()))).toBe(digestOf(changed))

  await put(Buffer.from('short'))
  const beyond = await fetch(url, { headers: { ...range, 'If-Range': etag } })
  expect([beyond.status, await beyond.text()]).toEqual([200, 'short'])
  expect((await fetch(url, { headers: range })).status).toBe(416)
  await fetch(url, { method: 'DELETE' })
}

describe.each([
  ['in one process', false],
  ['between processes', true],
])('a download that was cut off, %s', (_, apart) => {
  test('goes on where it ended, and begins anew when the file changed', async () => {
    await using folder = await tempFolder('resume')
    await resumes(folder.path, {}, apart)
  })

  describeWith(['s3'], 'from S3', () => {
    test('goes on where it ended, and begins anew when the object changed', async () => {
      await using bucket = await createBucket('resume')
      await resumes(`${bucket.uri}/root`, bucket.env, apart)
    })
  })
})
