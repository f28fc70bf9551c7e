import { setTimeout } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Driver, Entry } from '../driver.ts'
import { bodyOf, paused } from './bodies.ts'
import type { Suite } from './harness.ts'

const CHILDREN = 1_005
const WRITES_AT_ONCE = 32
const PAUSED_BYTES = 100_000
const LOOKS = 8
const LOOK_EVERY_MS = 40

/** What a folder lists, without folders that nothing is in: whether those are there is the store's own business. */
async function shown(driver: Driver, key: string): Promise<Entry[]> {
  const found: Entry[] = []
  for await (const entry of driver.list(key)) {
    const below = key === '' ? entry.name : `${key}/${entry.name}`
    if (!entry.isDir || (await shown(driver, below)).length > 0) found.push(entry)
  }
  return found
}

async function writeAll(driver: Driver, keys: string[]): Promise<void> {
  for (let i = 0; i < keys.length; i += WRITES_AT_ONCE) {
    await Promise.all(keys.slice(i, i + WRITES_AT_ONCE).map(key => driver.write(key, bodyOf('x'), { length: 1 })))
  }
}

export function treeCases({ harness, withDriver }: Suite): void {
  describe('trees', () => {
    test('a folder that an upload makes is listed once something is in it', () =>
      withDriver(['new'], async driver => {
        const names = async (key: string) => (await Array.fromAsync(driver.list(key))).map(({ name }) => name)
        let go = () => {}
        const open = new Promise<void>(resolve => {
          go = resolve
        })
        const writing = driver.write('new/deep/a', paused(PAUSED_BYTES, open))
        for (let look = 0; look < LOOKS && !harness().keepsFolders; look++) {
          expect(await names('')).toEqual([])
          await setTimeout(LOOK_EVERY_MS)
        }
        await driver.write('new/b', bodyOf('x'))
        expect(await names('')).toEqual(['new'])
        if (!harness().keepsFolders) expect(await names('new')).toEqual(['b'])
        go()
        await writing
        expect(await names('new')).toEqual(['b', 'deep'])
      }))

    test('an empty root lists nothing', () =>
      withDriver([], async driver => {
        expect(await shown(driver, '')).toEqual([])
        expect(await shown(driver, 'no/where')).toEqual([])
      }))

    test('a folder lists its children once each, in code point order of their names', () =>
      withDriver(['f', 'f.txt', 'f-2', 'z'], async driver => {
        await writeAll(driver, ['f/b', 'f/a/1', 'f/a/2', 'f/a.txt', 'f/a-b/x', 'f.txt', 'f-2/y', 'z'])
        expect(await shown(driver, '')).toEqual([
          { name: 'f', isDir: true, sizeBytes: 0 },
          { name: 'f-2', isDir: true, sizeBytes: 0 },
          { name: 'f.txt', isDir: false, sizeBytes: 1 },
          { name: 'z', isDir: false, sizeBytes: 1 },
        ])
        expect((await shown(driver, 'f')).map(entry => entry.name)).toEqual(['a', 'a-b', 'a.txt', 'b'])
        expect(await shown(driver, 'z')).toEqual([])
        expect(await shown(driver, 'f/b')).toEqual([])
      }))

    test(`${CHILDREN} children are listed, and removed with their folder`, () =>
      withDriver(['many'], async driver => {
        const names = Array.from({ length: CHILDREN }, (_, i) => `n${String(i).padStart(5, '0')}`)
        await writeAll(
          driver,
          names.map(name => `many/${name}`),
        )
        expect((await shown(driver, 'many')).map(entry => entry.name)).toEqual(names)
        await driver.remove('many')
        expect(await shown(driver, 'many')).toEqual([])
      }))

    test('removing a folder spares keys that only begin like it', () =>
      withDriver(['run1', 'run10', 'run1.txt'], async driver => {
        await writeAll(driver, ['run1/a', 'run1/b/c', 'run10/a', 'run1.txt'])
        await driver.remove('run1')
        expect((await shown(driver, '')).map(entry => entry.name)).toEqual(['run1.txt', 'run10'])
        await driver.remove('run1')
        await driver.remove('absent/below/absent')
        await driver.remove('run1.txt/below-a-file')
        expect(await driver.stat('run1.txt')).toEqual({ isDir: false, sizeBytes: 1 })
      }))

    test('the root is removed like any folder', () =>
      withDriver([], async driver => {
        await writeAll(driver, ['a', 'b/c'])
        await driver.remove('')
        expect(await shown(driver, '')).toEqual([])
      }))
  })
}
