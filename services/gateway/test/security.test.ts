import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Gateway } from '../src/service.ts'
import { startWith } from './fixture.ts'

const GET_RUN = '/api/2.0/mlflow/runs/get'
const PREFLIGHT = { 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type, x-a' }

async function call(gateway: Gateway, method: string, path: string, headers: Record<string, string>) {
  return new Promise<{ status: number | undefined; headers: Record<string, unknown>; text: string }>((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: gateway.port, method, path, headers }, res => {
      let text = ''
      res.setEncoding('utf8').on('data', chunk => {
        text += chunk
      })
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, text }))
    })
    sent.on('error', reject).end()
  })
}

let gateway: Gateway
beforeAll(async () => {
  gateway = await startWith([])
})
afterAll(async () => {
  await gateway[Symbol.asyncDispose]()
})

describe('hosts', () => {
  test.each([
    'localhost',
    'localhost:5000',
    '127.0.0.1:1',
    '[::1]',
    '[::1]:5000',
    '0.0.0.0:80',
    '192.168.1.7:5000',
    '10.0.0.1',
    '172.16.0.1',
    '172.31.9.9:1',
    'fd00::1',
    '[fd00::1]',
    '[FC00:1::2]:5000',
    '10.255.255.255:65535',
    '192.168.0.1:',
  ])('%s is allowed', async host => {
    expect((await call(gateway, 'GET', '/', { Host: host })).status).toBe(200)
  })

  test.each([
    'evil.com',
    'localhost.evil.com',
    '172.32.0.1',
    '172.15.0.1',
    '11.0.0.1',
    '10.evil.com',
    '10.0.0.1.evil.com',
    '10.0.0.1.',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.1:80.evil.com',
    '10.0.0.1:x',
    '192.168.1.1.evil.com',
    '172.16.evil.com',
    'fc00:evil.com',
    'fd00:80.evil.com',
    '[fd00::1].evil.com',
    '[fd00::1]:evil',
    '[fd00::evil]',
    'fd00::1%evil.com',
    '[10.0.0.1]',
    '127.0.0.1:80.evil.com',
    'localhost:x',
    'localhost:80.evil.com',
    '[::1]:evil',
    '0.0.0.0:0x50',
  ])('%j is not', async host => {
    expect(await call(gateway, 'GET', '/', { Host: host })).toMatchObject({
      status: 403,
      text: 'Invalid Host header - possible DNS rebinding attack detected',
      headers: { 'content-type': 'text/plain' },
    })
    expect((await call(gateway, 'GET', '/health', { Host: host })).status).toBe(200)
    expect((await call(gateway, 'GET', '/version', { Host: host })).status).toBe(200)
  })

  test('a list replaces the default and may have patterns', async () => {
    await using listed = await startWith([], { allowedHosts: 'mlflow.co,*.example.com' })
    const status = async (Host: string) => (await call(listed, 'GET', '/', { Host })).status
    expect(await status('mlflow.co')).toBe(200)
    expect(await status('mlflow.co:5000')).toBe(403)
    expect(await status('a.example.com')).toBe(200)
    expect(await status('localhost')).toBe(403)
  })

  test('a star allows all', async () => {
    await using open = await startWith([], { allowedHosts: '*' })
    for (const Host of ['evil.com', '']) expect((await call(open, 'GET', '/', { Host })).status).toBe(200)
  })
})

describe('origins', () => {
  test('a change from a foreign origin is blocked, reading is not', async () => {
    const Origin = 'http://evil.com'
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      expect(await call(gateway, method, GET_RUN, { Origin })).toMatchObject({ status: 403, text: 'Cross-origin request blocked' })
    }
    expect((await call(gateway, 'POST', '/millrace.tracking.v1.RunService/DeleteRun', { Origin })).status).toBe(403)
    const read = await call(gateway, 'GET', '/version', { Origin })
    expect(read.status).toBe(200)
    expect(read.headers['access-control-allow-origin']).toBeUndefined()
  })

  test('loopback may read and change', async () => {
    const answer = await call(gateway, 'GET', '/version', { Origin: 'http://localhost:3000' })
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': 'http://localhost:3000',
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': '*',
    })
    expect((await call(gateway, 'POST', GET_RUN, { Origin: 'http://localhost:3000' })).status).toBe(405)
  })

  test('preflights', async () => {
    const allowed = await call(gateway, 'OPTIONS', GET_RUN, { Origin: 'http://localhost:3000', ...PREFLIGHT })
    expect(allowed).toMatchObject({ status: 200, text: 'OK' })
    expect(allowed.headers).toMatchObject({
      'access-control-allow-methods': 'GET, POST, PUT, DELETE, OPTIONS, PATCH',
      'access-control-max-age': '600',
      'access-control-allow-credentials': 'true',
      'access-control-allow-headers': 'content-type, x-a',
      'access-control-allow-origin': 'http://localhost:3000',
    })
    expect(await call(gateway, 'OPTIONS', GET_RUN, { Origin: 'http://evil.com', ...PREFLIGHT })).toMatchObject({
      status: 400,
      text: 'Disallowed CORS origin',
      headers: { 'access-control-allow-headers': 'content-type, x-a' },
    })
    const trace = { 'Access-Control-Request-Method': 'TRACE' }
    expect(await call(gateway, 'OPTIONS', GET_RUN, { Origin: 'http://localhost', ...trace })).toMatchObject({
      status: 400,
      text: 'Disallowed CORS method',
    })
    expect((await call(gateway, 'OPTIONS', GET_RUN, { Origin: 'null', ...trace })).text).toBe('Disallowed CORS origin, method')
  })

  test('an empty origin may change, but gets no preflight', async () => {
    expect((await call(gateway, 'POST', GET_RUN, { Origin: '' })).status).toBe(405)
    expect((await call(gateway, 'OPTIONS', GET_RUN, { Origin: '', ...PREFLIGHT })).text).toBe('Disallowed CORS origin')
  })

  test('listed origins may change; a star is without credentials', async () => {
    await using listed = await startWith([], { corsAllowedOrigins: 'https://ui.example.com' })
    expect((await call(listed, 'POST', GET_RUN, { Origin: 'https://ui.example.com' })).status).toBe(405)
    await using open = await startWith([], { corsAllowedOrigins: '*' })
    const answer = await call(open, 'POST', GET_RUN, { Origin: 'http://evil.com' })
    expect(answer.status).toBe(405)
    expect(answer.headers['access-control-allow-origin']).toBe('*')
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined()
  })
})

describe('headers', () => {
  test('nosniff and frame options are on every answer', async () => {
    for (const path of ['/', '/health', '/nonsense', GET_RUN, `${GET_RUN}?run_id=r`]) {
      expect((await call(gateway, 'GET', path, {})).headers).toMatchObject({
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'SAMEORIGIN',
      })
    }
  })

  test('frame options can be changed or left out', async () => {
    await using deny = await startWith([], { xFrameOptions: 'deny' })
    expect((await call(deny, 'GET', '/', {})).headers['x-frame-options']).toBe('DENY')
    await using none = await startWith([], { xFrameOptions: 'NONE' })
    expect((await call(none, 'GET', '/', {})).headers['x-frame-options']).toBeUndefined()
  })

  test('without the middleware nothing is checked or added', async () => {
    await using off = await startWith([], { disableSecurityMiddleware: true })
    const answer = await call(off, 'GET', '/', { Host: 'evil.com' })
    expect(answer.status).toBe(200)
    expect(answer.headers['x-content-type-options']).toBeUndefined()
    expect((await call(off, 'OPTIONS', GET_RUN, {})).status).toBe(200)
    expect((await call(gateway, 'OPTIONS', GET_RUN, {})).status).toBe(204)
  })
})
