import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Multipart, PartTarget, SentPart } from '../driver.ts'
import { bodyOf, digest, text } from './bodies.ts'
import type { Suite } from './harness.ts'

type Started = { multipart: Multipart; uploadId: string }

async function send({ multipart, uploadId }: Started, target: PartTarget, bytes: Buffer): Promise<SentPart> {
  const { partNumber, url } = target
  const { isReceiving = multipart.receive !== undefined } = multipart
  if (multipart.receive && isReceiving) {
    expect(url).toBe('')
    return { partNumber, url, etag: await multipart.receive({ uploadId, partNumber }, bodyOf(bytes), { length: bytes.length }) }
  }
  const response = await fetch(url, { method: 'PUT', headers: target.headers, body: new Uint8Array(bytes) })
  expect(response.status, await response.text()).toBeLessThan(300)
  return { partNumber, etag: response.headers.get('etag') ?? '', url }
}

const sendAll = (started: Started, targets: PartTarget[], bodies: Buffer[]) =>
  Promise.all(targets.map((target, i) => send(started, target, bodies[i] ?? Buffer.alloc(0))))

export function multipartCases({ harness, withDriver }: Suite): void {
  describe('multipart', () => {
    const withMultipart = (action: (multipart: Multipart, sizes: number[], read: (key: string) => Promise<string>) => Promise<void>) =>
      withDriver(['m', 'one', 'gone', 'bad'], async driver => {
        const { capabilities, partSizeBytesMin = 600_000 } = harness()
        expect(driver.multipart !== undefined).toBe(capabilities.multipart)
        if (!driver.multipart) return
        const read = async (key: string) => {
          const { body, size } = await driver.read(key)
          return size < 1000 ? text(body) : (await digest(body)).sha256
        }
        await action(driver.multipart, [partSizeBytesMin, partSizeBytesMin + 1, 7], read)
      })

    test('parts sent in any order become one object, visible with the completion', () =>
      withMultipart(async (multipart, sizes, read) => {
        const bodies = sizes.map(size => randomBytes(size))
        const { uploadId, parts } = await multipart.start('m/joined 日.bin', bodies.length)
        expect(parts.map(part => part.partNumber)).toEqual([1, 2, 3])
        const sent = (await sendAll({ multipart, uploadId }, parts.toReversed(), bodies.toReversed())).toReversed()
        await expect(read('m/joined 日.bin')).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
        await multipart.complete('m/joined 日.bin', uploadId, sent)
        const { Readable } = await import('node:stream')
        expect(await read('m/joined 日.bin')).toBe((await digest(Readable.from(bodies, { objectMode: false }))).sha256)
        await multipart.complete('m/joined 日.bin', uploadId, sent)
        await multipart.abort('m/joined 日.bin', uploadId)
        expect((await read('m/joined 日.bin')).length).toBe(64)
      }))

    test('one small part is enough', () =>
      withMultipart(async (multipart, _sizes, read) => {
        const { uploadId, parts } = await multipart.start('one', 1)
        await multipart.complete('one', uploadId, await sendAll({ multipart, uploadId }, parts, [Buffer.from('tiny')]))
        expect(await read('one')).toBe('tiny')
      }))

    test('an aborted upload is gone; aborting it again is success', () =>
      withMultipart(async (multipart, _sizes, read) => {
        const { uploadId, parts } = await multipart.start('gone', 1)
        const sent = await sendAll({ multipart, uploadId }, parts, [Buffer.from('never')])
        await multipart.abort('gone', uploadId)
        await multipart.abort('gone', uploadId)
        await expect(multipart.complete('gone', uploadId, sent)).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
        await expect(read('gone')).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
      }))

    test('parts that were never sent are refused, and the upload can still be aborted', () =>
      withMultipart(async multipart => {
        const { uploadId, parts } = await multipart.start('bad', 2)
        const [first] = await sendAll({ multipart, uploadId }, parts.slice(0, 1), [Buffer.from('x')])
        const invented = { partNumber: 2, etag: '"00000000000000000000000000000000"', url: parts[1]?.url ?? '' }
        const completing = multipart.complete('bad', uploadId, first ? [first, invented] : [])
        await expect(completing).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
        await multipart.abort('bad', uploadId)
      }))
  })
}
