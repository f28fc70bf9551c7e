import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { IS_A_DIRECTORY, RANGE_NOT_SATISFIABLE } from '../errors.ts'
import { bodyOf, cutOff, digest, generated, text } from './bodies.ts'
import type { Suite } from './harness.ts'

// What the collector has not come to yet isn't held by anybody.
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const BIG_BYTES = 192 * 1024 * 1024
const RSS_GROWTH_BYTES_MAX = 110 * 1024 * 1024
const LOOK_EVERY_MS_MIN = 50
const PAUSES_FOR_COLLECTING = 4
const BIG_TIMEOUT_MS = 600_000

const ODD_KEYS = [
  'plain.txt',
  'sp ace.txt',
  'per%25cent.txt',
  'plus+and&amp;.txt',
  'quo\'te"s.txt',
  'q?mark.txt',
  'num#ber.txt',
  'image#b%step%0?.png',
  'semi;colon,comma',
  'back\\slash',
  '.hidden',
  'trailing.',
  'UPPER.TXT',
  '日本語.txt',
  'e\u0301 and é',
  'emoji🎉',
  '\uffdc after \u{10000}',
  'x'.repeat(200),
  'a/b/c/d/e/f/g/h/deep.txt',
  'ta\tb',
]

export function objectCases({ harness, withDriver }: Suite): void {
  describe('objects', () => {
    test('what is written is read, replaced and removed', () =>
      withDriver(['a'], async driver => {
        expect(await driver.stat('a/b.txt')).toBeUndefined()
        await driver.write('a/b.txt', bodyOf('one'))
        await driver.write('a/b.txt', bodyOf('second'), { length: 6, contentType: 'text/plain' })
        expect(await driver.stat('a/b.txt')).toEqual({ isDir: false, sizeBytes: 6 })
        expect(await driver.stat('a')).toEqual({ isDir: true, sizeBytes: 0 })
        const read = await driver.read('a/b.txt')
        expect(read).toMatchObject({ length: 6, size: 6, start: 0 })
        expect(read.etag).toMatch(/^"[^"]+"$/)
        expect(Math.abs(Date.now() - (read.lastModified?.getTime() ?? 0))).toBeLessThan(60_000)
        expect(await text(read.body)).toBe('second')
        await driver.remove('a/b.txt')
        await driver.remove('a/b.txt')
        expect(await driver.stat('a/b.txt')).toBeUndefined()
        await expect(driver.read('a/b.txt')).rejects.toMatchObject({
          errorCode: 'RESOURCE_DOES_NOT_EXIST',
          rawMessage: "No such artifact: 'a/b.txt'",
        })
      }))

    test('odd and unicode keys come back as they were', () => {
      const keys = ODD_KEYS.filter(key => !harness().unfitKeys?.includes(key))
      return withDriver(keys, async driver => {
        for (const key of keys) await driver.write(key, bodyOf(key))
        for (const key of keys) expect(await text((await driver.read(key)).body)).toBe(key)
        const names: string[] = []
        for await (const entry of driver.list('')) names.push(entry.name)
        const expected = keys.map(key => key.split('/')[0] ?? '').sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        expect(names).toEqual(expected)
        await driver.remove('a')
        for (const key of keys) await driver.remove(key)
        for (const key of keys) expect(await driver.stat(key)).toBeUndefined()
      })
    })

    test('zero bytes are an object', () =>
      withDriver(['empty', 'known'], async driver => {
        await driver.write('empty', bodyOf(''))
        await driver.write('known', bodyOf(''), { length: 0 })
        for (const key of ['empty', 'known']) {
          expect(await driver.stat(key)).toEqual({ isDir: false, sizeBytes: 0 })
          const read = await driver.read(key)
          expect([read.length, read.size, await text(read.body)]).toEqual([0, 0, ''])
        }
        await expect(driver.read('empty', { range: { start: 0 } })).rejects.toMatchObject({ errorClass: RANGE_NOT_SATISFIABLE })
      }))

    test.each([10, 200_000])('ranges of %d bytes', size =>
      withDriver(['r'], async driver => {
        const content = Buffer.from(Array.from({ length: size }, (_, i) => 97 + (i % 26)))
        await driver.write('r', bodyOf(content))
        const cases = [
          [{ start: 0, end: 0 }, 0, 1],
          [{ start: 1, end: 3 }, 1, 4],
          [{ start: 5 }, 5, size],
          [{ start: -3 }, size - 3, size],
          [{ start: -size * 2 }, 0, size],
          [{ start: size - 1, end: size * 2 }, size - 1, size],
        ] as const
        for (const [range, from, to] of cases) {
          const read = await driver.read('r', { range })
          expect(read).toMatchObject({ start: from, length: to - from, size })
          expect(await text(read.body)).toBe(content.subarray(from, to).toString())
        }
        await expect(driver.read('r', { range: { start: size } })).rejects.toMatchObject({ errorClass: RANGE_NOT_SATISFIABLE })
      }),
    )

    test('a folder is not an object', () =>
      withDriver(['d'], async driver => {
        await driver.write('d/x', bodyOf('1'))
        await expect(driver.read('d')).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE', errorClass: IS_A_DIRECTORY })
      }))

    test('a body that fails leaves nothing, at any size', () =>
      withDriver(['keep', 'new', 'big'], async driver => {
        await driver.write('keep', bodyOf('old'))
        for (const [key, bytes, length] of [
          ['new/deep/x', 10, undefined],
          ['new/deep/x', 10, 4000],
          ['keep', 100_000, undefined],
          ['big', 20 * 1024 * 1024, 64 * 1024 * 1024],
        ] as const) {
          await expect(driver.write(key, cutOff(bytes), { length })).rejects.toMatchObject({ errorCode: 'CANCELLED' })
        }
        expect(await text((await driver.read('keep')).body)).toBe('old')
        expect(await driver.stat('new/deep/x')).toBeUndefined()
        expect(await driver.stat('big')).toBeUndefined()
      }))

    test('a failed upload leaves the folders that were there', () =>
      withDriver(['had'], async driver => {
        await driver.write('had/nothing/x', bodyOf('1'))
        await driver.remove('had/nothing/x')
        const before = await harness().leftovers(driver)
        for (const key of ['had/nothing/y', 'had/nothing/new/deep/y']) {
          await expect(driver.write(key, cutOff(100_000))).rejects.toMatchObject({ errorCode: 'CANCELLED' })
        }
        const made = harness().keepsFolders ? ['had/nothing/new', 'had/nothing/new/deep'] : []
        const after = (await harness().leftovers(driver)).filter(path => !made.includes(path))
        expect(after.toSorted()).toEqual(before.toSorted())
      }))

    test('uploads that fail together leave none of their folders', () =>
      withDriver(harness().keepsFolders ? ['new'] : [], async driver => {
        const failing = Array.from({ length: 12 }, (_, i) => driver.write(`new/deep/${i % 3}/${i}`, cutOff(100_000 * (i + 1))))
        for (const { status } of await Promise.allSettled(failing)) expect(status).toBe('rejected')
      }))

    test.each([
      [undefined, 0],
      [undefined, 100],
      [1024 * 1024 * 1024, 100],
    ])('an aborted write leaves nothing and ends its body, announced with length %s, after %i ms', (length, afterMs) =>
      withDriver(['aborted'], async driver => {
        const stop = new AbortController()
        const body = generated(1024 * 1024 * 1024)
        if (afterMs === 0) stop.abort()
        else setTimeout(() => stop.abort(), afterMs)
        await expect(driver.write('aborted', body, { length, signal: stop.signal })).rejects.toMatchObject({ errorCode: 'CANCELLED' })
        expect(body.destroyed).toBe(true)
        expect(await driver.stat('aborted')).toBeUndefined()
      }),
    )

    test('concurrent writers of one key leave one whole object', () =>
      withDriver(['race'], async driver => {
        const bodies = Array.from({ length: 12 }, (_, i) => Buffer.alloc(150_000, 65 + i))
        await Promise.all(bodies.map((body, i) => driver.write('race/one', bodyOf(body), i % 2 ? { length: body.length } : {})))
        const found = await text((await driver.read('race/one')).body)
        expect(bodies.some(body => body.toString() === found)).toBe(true)
        await Promise.all(bodies.map((body, i) => driver.write(`race/${i}/x`, bodyOf(body))))
        for (const [i, body] of bodies.entries()) expect(await text((await driver.read(`race/${i}/x`)).body)).toBe(body.toString())
      }))

    test('a reader keeps its version while another replaces it', () =>
      withDriver(['v'], async driver => {
        await driver.write('v', generated(3_000_000))
        const expected = await digest(generated(3_000_000))
        const reading = await driver.read('v')
        await driver.write('v', bodyOf('short'))
        expect(await digest(reading.body)).toEqual(expected)
        expect(await text((await driver.read('v')).body)).toBe('short')
      }))

    test('a reader that goes away early harms nothing', () =>
      withDriver(['g'], async driver => {
        await driver.write('g', generated(4_000_000))
        for (let i = 0; i < 30; i++) {
          const { body } = await driver.read('g')
          body.on('error', () => undefined)
          if (i % 2) await new Promise(resolve => body.once('readable', resolve))
          body.destroy()
        }
        expect((await digest((await driver.read('g')).body)).length).toBe(4_000_000)
      }))

    test(
      'a big stream of unknown length passes in bounded memory',
      () =>
        withDriver(['huge'], async driver => {
          collectGarbage()
          const before = process.memoryUsage.rss()
          let highest = before
          let watch: NodeJS.Timeout | undefined
          // Servers of some tests are in this process: the collector leaves them most of the time.
          const look = () => {
            const begun = performance.now()
            collectGarbage()
            highest = Math.max(highest, process.memoryUsage.rss())
            watch = setTimeout(look, Math.max(LOOK_EVERY_MS_MIN, (performance.now() - begun) * PAUSES_FOR_COLLECTING))
          }
          look()
          try {
            await driver.write('huge', generated(BIG_BYTES))
            expect(await digest((await driver.read('huge')).body)).toEqual(await digest(generated(BIG_BYTES)))
          } finally {
            clearTimeout(watch)
          }
          expect(highest - before).toBeLessThan(RSS_GROWTH_BYTES_MAX)
        }),
      BIG_TIMEOUT_MS,
    )
  })
}
