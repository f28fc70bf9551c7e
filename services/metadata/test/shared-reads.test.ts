import { expect, test } from 'vitest'
import { SharedReads } from '../src/store/shared-reads.ts'

function source() {
  const begun: PromiseWithResolvers<string>[] = []
  const reads = new SharedReads<string>()
  const read = (key: string) =>
    reads.read(key, () => {
      const result = Promise.withResolvers<string>()
      begun.push(result)
      return result.promise
    })
  return { begun, read }
}

test('who asks while an equal read is under way gets the next, and all of them the same', async () => {
  const { begun, read } = source()
  const first = read('a')
  const others = [read('a'), read('a')]
  const other = read('b')
  expect(begun).toHaveLength(2)
  begun[0]?.resolve('old')
  expect(await first).toBe('old')
  expect(begun).toHaveLength(3)
  const late = read('a')
  begun[2]?.resolve('new')
  expect(await Promise.all(others)).toEqual(['new', 'new'])
  begun[3]?.resolve('newest')
  begun[1]?.resolve('b')
  expect([await late, await other]).toEqual(['newest', 'b'])
  read('a')
  expect(begun).toHaveLength(5)
})

test('a read that fails fails those who share it, and nobody after them', async () => {
  const { begun, read } = source()
  const failed = read('a')
  const next = [read('a'), read('a')]
  begun[0]?.reject(new Error('lost'))
  await expect(failed).rejects.toThrow('lost')
  begun[1]?.reject(new Error('lost again'))
  for (const one of next) await expect(one).rejects.toThrow('lost again')
  const last = read('a')
  begun[2]?.resolve('found')
  expect(await last).toBe('found')
})
