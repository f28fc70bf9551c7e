import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { SharedReads } from '../src/rpc/shared-reads.ts'

/** Long enough for a read that may begin to begin. */
async function turns(): Promise<void> {
  for (let i = 0; i < 3; i++) await turn()
}

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

test('who asks before an equal read has begun shares it, who asks while it is under way the next', async () => {
  const { begun, read } = source()
  const first = [read('a'), read('a')]
  const other = read('b')
  await turns()
  expect(begun).toHaveLength(2)
  const others = [read('a'), read('a')]
  await turns()
  expect(begun).toHaveLength(2)
  begun[0]?.resolve('old')
  expect(await Promise.all(first)).toEqual(['old', 'old'])
  const joined = read('a')
  await turns()
  expect(begun).toHaveLength(3)
  const late = read('a')
  begun[2]?.resolve('new')
  expect(await Promise.all([...others, joined])).toEqual(['new', 'new', 'new'])
  await turns()
  begun[3]?.resolve('newest')
  begun[1]?.resolve('b')
  expect([await late, await other]).toEqual(['newest', 'b'])
  expect(begun).toHaveLength(4)
})

test('a read that fails fails those who share it, and nobody after them', async () => {
  const { begun, read } = source()
  const failed = [read('a'), read('a')]
  await turns()
  const next = read('a')
  begun[0]?.reject(new Error('lost'))
  for (const one of failed) await expect(one).rejects.toThrow('lost')
  await turns()
  begun[1]?.resolve('found')
  expect(await next).toBe('found')
})
