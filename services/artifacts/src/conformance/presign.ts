import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { bodyOf, text } from './bodies.ts'
import type { Suite } from './harness.ts'

const EXPIRATION_SECONDS = 60

export function presignCases({ harness, withDriver }: Suite): void {
  describe('presign', () => {
    test('a signed URL downloads the object, whole and by range, and nothing else', () =>
      withDriver(['p'], async driver => {
        expect(driver.presign !== undefined).toBe(harness().capabilities.presign)
        if (!driver.presign) return
        const { unchecked = [] } = harness()
        const key = 'p/sp ace é+.txt'
        await driver.write(key, bodyOf('downloaded'))
        const { url, headers, sizeBytes } = await driver.presign.download(key, EXPIRATION_SECONDS)
        expect(sizeBytes).toBe(10)
        const whole = await fetch(url, { headers })
        expect([whole.status, await whole.text()]).toEqual([200, 'downloaded'])
        if (!unchecked.includes('dispositions')) expect(whole.headers.get('content-disposition')).toMatch(/^attachment/)
        const part = await fetch(url, { headers: { ...headers, Range: 'bytes=4-7' } })
        expect([part.status, await part.text()]).toEqual([206, 'load'])
        if (!unchecked.includes('signatures')) expect((await fetch(`${url}x`, { headers })).status).toBeGreaterThanOrEqual(400)
        const missing = driver.presign.download('p/none', EXPIRATION_SECONDS)
        await expect(missing).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
      }))

    test('a signed URL downloads what is compressed as it was stored', () =>
      withDriver(['z.csv.gz'], async driver => {
        if (!driver.presign) return
        const stored = gzipSync('a,b')
        await driver.write('z.csv.gz', bodyOf(stored), { length: stored.length, contentType: 'text/csv', contentEncoding: 'gzip' })
        const { url, headers, sizeBytes } = await driver.presign.download('z.csv.gz', EXPIRATION_SECONDS)
        const got = await fetch(url, { headers })
        expect(Buffer.from(await got.arrayBuffer())).toEqual(stored)
        expect(sizeBytes).toBe(stored.length)
      }))

    test('a signed URL uploads the object', () =>
      withDriver(['up'], async driver => {
        if (!driver.presign) return
        const { presignedUpload = true } = harness().capabilities
        expect(driver.presign.upload !== undefined).toBe(presignedUpload)
        if (!driver.presign.upload) return
        const { url, headers } = await driver.presign.upload('up/a.json', EXPIRATION_SECONDS, 'application/json')
        expect(headers).toMatchObject({ 'Content-Type': 'application/json' })
        const sent = await fetch(url, { method: 'PUT', headers, body: '{}' })
        expect([200, 201], await sent.text()).toContain(sent.status)
        expect(await text((await driver.read('up/a.json')).body)).toBe('{}')
      }))
  })
}
