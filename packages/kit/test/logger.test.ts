import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { LOG_ENTRY_CHARACTERS_MAX, LOG_TEXT_CHARACTERS_MAX } from '@millrace/kit/log-values'
import { createLogger, type LoggerOptions } from '@millrace/kit/logger'
import { expect, test, vi } from 'vitest'

function logged(options: LoggerOptions, write: (log: ReturnType<typeof createLogger>) => void): string[] {
  const lines: string[] = []
  write(createLogger({ ...options, write: line => lines.push(line) }))
  return lines
}

test('an entry is one line of JSON with its fields', () => {
  const [line = ''] = logged({ format: 'json' }, log => log.child({ part: 'x' }).info('hello\nyou', { count: 3n }))
  expect(line.indexOf('\n')).toBe(line.length - 1)
  expect(JSON.parse(line)).toMatchObject({ level: 'info', message: 'hello\nyou', part: 'x', count: '3' })
})

test('an entry is one line of text with its fields', () => {
  const [line = ''] = logged({ format: 'text' }, log => log.warn('hello\nyou', { url: 'http://a', none: undefined }))
  expect(line).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z WARN {2}hello you url="http:\/\/a"\n$/)
})

test('levels below the chosen one are left out', () => {
  const all = (log: ReturnType<typeof createLogger>) => {
    log.debug('d')
    log.info('i')
    log.warn('w')
    log.error('e')
  }
  expect(logged({ level: 'warn' }, all)).toHaveLength(2)
  expect(logged({ level: 'silent' }, all)).toHaveLength(0)
})

test.each(['json', 'text'] as const)('no password of a URL is written as %s, in errors as well', format => {
  const error = new Error('connecting to postgresql://user:hidden@host/db', { cause: new Error('redis://:hidden@host') })
  const [line = ''] = logged({ format }, log => log.error('away: http://a:hidden@b', { error }))
  expect(line).toContain('postgresql://user:***@host/db')
  expect(line).not.toContain('hidden')
})

const circle: Record<string, unknown> = { name: 'circle' }
circle.self = circle
const chain = Array.from({ length: 100 }).reduce(
  (cause: Error, _, i) => new Error(`${i} ${'x'.repeat(10_000)}`, { cause }),
  new Error('end'),
)

test.each([
  ['a text', { path: 'x'.repeat(10_000_000) }],
  ['texts in a list', { list: Array.from({ length: 100_000 }, () => 'x'.repeat(100)) }],
  ['many fields', Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`field ${i}`, i]))],
  ['a wide tree', { tree: Array.from({ length: 100 }, () => Array.from({ length: 100 }, () => Array(100).fill('x'))) }],
  ['a long chain of causes', { error: chain }],
  ['a circle', { circle }],
  ['bytes', { bytes: Buffer.alloc(10_000_000) }],
])('an entry stays short: %s', (_, fields) => {
  for (const format of ['json', 'text'] as const) {
    const [line = ''] = logged({ format }, log => log.error('long', fields))
    expect(line.length).toBeLessThan(2 * LOG_ENTRY_CHARACTERS_MAX)
    expect(line.indexOf('\n')).toBe(line.length - 1)
  }
})

test('a text that is cut says by how much, and shows no part of a password at the cut', () => {
  const secret = `postgresql://user:${'hidden'.repeat(1_000)}@host`
  const [line = ''] = logged({ format: 'json' }, log => log.info('m', { text: 'é'.repeat(LOG_TEXT_CHARACTERS_MAX + 1_234), secret }))
  const { text, secret: shown } = JSON.parse(line)
  expect(text).toBe(`${'é'.repeat(LOG_TEXT_CHARACTERS_MAX)}… (1,234 more characters)`)
  expect(shown).toMatch(/^postgresql:\/\/user:\*\*\*… \(/)
})

test('an error with a long message keeps its stack', () => {
  const [line = ''] = logged({ format: 'json' }, log => log.error('m', { error: new Error('x'.repeat(1_000_000)) }))
  expect(JSON.parse(line).error.stack).toContain('logger.test.ts')
})

test('failures that repeat are written a few times, then counted; the first of every kind is there', async () => {
  const lines: string[] = []
  const log = createLogger({ write: line => lines.push(line), repeatIntervalMs: 100 })
  const away = (i: number) => Object.assign(new Error(`connect ECONNREFUSED 10.0.0.${i % 250}:5432`), { code: 'ECONNREFUSED' })
  for (let i = 0; i < 2_000; i++)
    log.child({ i }).error('a request failed', { path: `/${i}`, reason: new Error('503', { cause: away(i) }) })
  log.error('a request failed', { reason: new Error('503', { cause: new TypeError('other') }) })
  log.warn('something else')
  expect(lines.length).toBeLessThan(10)
  expect(lines.join('')).toMatch(/TypeError(.|\n)*something else/)
  await vi.waitFor(() => expect(lines.at(-1)).toMatch(/ERROR a request failed \(and 1,995 more like it in 0.1 s\) .*like="Error: 503"/))
  log.error('a request failed', { reason: new Error('503', { cause: away(1) }) })
  expect(lines.at(-1)).toContain('ECONNREFUSED')
})

test('every line is written before a process ends, by an error that nobody catches as well', async () => {
  const script = `
    import { createLogger } from '@millrace/kit/logger'
    const log = createLogger({ format: 'json' })
    for (let i = 0; i < 5000; i++) log.info('line', { i, text: 'x'.repeat(100) })
    throw new Error('fatal')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'ignore', 'pipe'] })
  const lines: number[] = []
  for await (const line of createInterface(child.stderr)) if (line.startsWith('{')) lines.push(JSON.parse(line).i)
  expect(lines).toEqual(Array.from({ length: 5_000 }, (_, i) => i))
})
