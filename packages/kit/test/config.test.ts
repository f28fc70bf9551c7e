import { ConfigError, checkBoolean, checkInteger, checkList, checkOneOf, checkUrls, read, redact } from '@millrace/kit/config'
import { expect, test } from 'vitest'

const env = { MLFLOW_PORT: '1', OTHER: '', SECOND: '2' }

test('a flag wins over a variable, and the first variable that is set over the next', () => {
  expect(read(env, { port: '3' }, 'port', 'MLFLOW_PORT')).toEqual({ value: '3', source: '--port' })
  expect(read(env, {}, 'port', 'OTHER', 'SECOND')).toEqual({ value: '2', source: 'SECOND' })
  expect(read(env, {}, undefined, 'OTHER')).toBeUndefined()
})

test('a flag is named as it is written, and a repeated one is joined', () => {
  expect(read({}, { metadataUrl: ['a', 'b'] }, 'metadataUrl')).toEqual({ value: 'a,b', source: '--metadata-url' })
  expect(read({}, { serveArtifacts: false }, 'serveArtifacts')?.value).toBe('false')
})

const raw = (value: string) => ({ value, source: '--x' })

test.each([
  [() => checkInteger(raw('1.5'), 0, 0, 9), "Invalid value for --x: '1.5'. Allowed: a whole number from 0 to 9."],
  [() => checkInteger(raw('10'), 0, 0, 9), "'10'"],
  [() => checkInteger(raw(''), 0, 0, 9), "''"],
  [() => checkBoolean(raw('maybe'), true), "Invalid value for --x: 'maybe'. Allowed: true or false."],
  [() => checkOneOf(raw('c'), 'a', ['a', 'b']), 'Allowed: a, b.'],
  [() => checkUrls(raw('http://u:hidden@h,nope')), "Invalid value for --x: 'http://u:***@h,nope'."],
])('a value that cannot be used is named with what is allowed: %#', (check, text) => {
  expect(check).toThrow(ConfigError)
  expect(check).toThrow(text)
})

test('absent values are the fallback, lists lose blanks, URLs their last slash', () => {
  expect(checkInteger(undefined, 7, 0, 9)).toBe(7)
  expect(checkBoolean(undefined, true)).toBe(true)
  expect(checkBoolean(raw('OFF'), true)).toBe(false)
  expect(checkList(raw(' a, ,b '))).toEqual(['a', 'b'])
  expect(checkUrls(raw('http://a/,https://b'))).toEqual(['http://a', 'https://b'])
})

test.each([
  ['postgresql://user:pass@host/db', 'postgresql://user:***@host/db'],
  ['redis://:pass@host', 'redis://:***@host'],
  ['mysql+pymysql://u:p@ss@host/d', 'mysql+pymysql://u:***@host/d'],
  ['two postgresql://u:p@h/a and http://v:q@i', 'two postgresql://u:***@h/a and http://v:***@i'],
  ['postgresql://u:p/w@host/d', 'postgresql://u:***@host/d'],
  ['{"url":"http://a:80","by":"me@b"}', '{"url":"http://a:80","by":"me@b"}'],
  ['http://127.0.0.1:5000/a@b', 'http://127.0.0.1:5000/a@b'],
  ['GET https://h/k?X-Amz-Expires=9&X-Amz-Signature=0ab&x=1 failed', 'GET https://h/k?X-Amz-Expires=9&X-Amz-Signature=***&x=1 failed'],
  ['"https://a/c/b?sv=2025&sig=Ab%2Fc%3D"', '"https://a/c/b?sv=2025&sig=***"'],
])('%s is shown as %s', (text, shown) => {
  expect(redact(text)).toBe(shown)
})
