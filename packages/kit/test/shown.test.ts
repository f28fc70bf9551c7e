import { expect, test } from 'vitest'
import { SHOWN_CHARACTERS_MAX, shorten } from '../src/shown.ts'

test('a text of ordinary length is quoted as it is', () => {
  expect(shorten('')).toBe('')
  expect(shorten('a'.repeat(SHOWN_CHARACTERS_MAX))).toBe('a'.repeat(SHOWN_CHARACTERS_MAX))
})

test('a long text is cut, never within a character', () => {
  expect(shorten('a'.repeat(1_000_000))).toBe(`${'a'.repeat(SHOWN_CHARACTERS_MAX)}…`)
  const paired = `${'a'.repeat(SHOWN_CHARACTERS_MAX - 1)}😀😀`
  expect(shorten(paired)).toBe(`${'a'.repeat(SHOWN_CHARACTERS_MAX - 1)}…`)
})
