import { createLogger, type LoggerOptions } from '@millrace/kit/logger'
import { expect, test } from 'vitest'

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
