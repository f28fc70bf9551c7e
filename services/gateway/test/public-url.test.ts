import type { IncomingMessage } from 'node:http'
import { describe, expect, test } from 'vitest'
import { checkGateway, readGateway } from '../src/config.ts'
import { publicUrl } from '../src/rpc/public-url.ts'

const config = (env: Record<string, string> = {}, flags = {}) => checkGateway(readGateway(env, flags))
const asked = (headers: Record<string, string>, encrypted = false) => ({ headers, socket: { encrypted } }) as unknown as IncomingMessage

describe('the URL by which clients reach the server', () => {
  test.each([
    [{ host: 'ml:5000' }, 'http://ml:5000'],
    [{ host: '[::1]:5000' }, 'http://[::1]:5000'],
    [{ ':authority': 'ml' }, 'http://ml'],
    [{ host: 'in', 'x-forwarded-host': 'out, in', 'x-forwarded-proto': 'https, http', 'x-forwarded-prefix': '/a/b' }, 'https://out/a/b'],
    [{ host: 'in', 'x-forwarded-host': 'a/b', 'x-forwarded-proto': 'ftp', 'x-forwarded-prefix': '//evil' }, 'http://in'],
    [{ host: 'in', 'x-forwarded-host': 'user@evil', 'x-forwarded-prefix': '/../x?' }, 'http://in'],
    [{ host: 'in', 'x-forwarded-host': 'a'.repeat(300), 'x-forwarded-prefix': '/a'.repeat(200) }, 'http://in'],
  ])('%j leads to %s', (headers, url) => expect(publicUrl(config(), asked(headers as Record<string, string>))).toBe(url))

  test('the static prefix belongs to it, and TLS without a proxy is seen', () =>
    expect(publicUrl(config({}, { staticPrefix: '/p' }), asked({ host: 'ml' }, true))).toBe('https://ml/p'))

  test('the configured one goes before what requests say', () => {
    const configured = config({ MILLRACE_PUBLIC_URL: 'https://ml.example/team/' }, { staticPrefix: '/p' })
    expect(publicUrl(configured, asked({ host: 'in' }))).toBe('https://ml.example/team')
    expect(publicUrl(configured, undefined)).toBe('https://ml.example/team')
  })

  test.each(['ml.example', 'ftp://ml', 'http://ml/?a=b', 'http://'])('MILLRACE_PUBLIC_URL=%s is refused', value =>
    expect(() => config({ MILLRACE_PUBLIC_URL: value })).toThrow(/MILLRACE_PUBLIC_URL: '.*'\. Allowed: http/),
  )

  test.each([undefined, '', 'a b', 'x/y', 'user@host', 'a.'.repeat(200)])('a request to host %j is refused', host =>
    expect(() => publicUrl(config(), asked(host === undefined ? {} : { host }))).toThrow('The Host header names no host'),
  )
})
