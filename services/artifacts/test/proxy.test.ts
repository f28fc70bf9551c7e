import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { digest, generated } from '../src/conformance/bodies.ts'
import { type FrontDoor, openFrontDoor, rawStatus } from './front-door.ts'

const JSON_BODY = { 'Content-Type': 'application/json' }
const BIG_BYTES = 512 * 1024 * 1024
const RSS_GROWTH_BYTES_MAX = 150 * 1024 * 1024

describe('the artifact proxy', () => {
  let base: string
  let data: string
  let door: FrontDoor
  beforeAll(async () => {
    base = await mkdtemp(join(tmpdir(), 'millrace-proxy-'))
    data = join(base, 'data')
    await writeFile(join(base, 'outside.txt'), 'outside')
    door = await openFrontDoor(data)
  })
  afterAll(async () => {
    await door[Symbol.asyncDispose]()
    await rm(base, { recursive: true, force: true })
  })

  const put = (path: string, body: string | Uint8Array<ArrayBuffer>) => fetch(`${door.url}/${path}`, { method: 'PUT', body })
  const get = (path: string, headers: Record<string, string> = {}) => fetch(`${door.url}/${path}`, { headers })
  const list = async (path: string) => (await fetch(`${door.url}?path=${encodeURIComponent(path)}`)).json()

  test('what is put is listed, got and deleted', async () => {
    expect((await put('r/a.txt', 'hello')).status).toBe(200)
    expect((await put('r/d/empty', '')).status).toBe(200)
    expect(await list('r')).toEqual({
      files: [
        { path: 'a.txt', is_dir: false, file_size: 5 },
        { path: 'd', is_dir: true },
      ],
    })
    expect(await list('r/d')).toEqual({ files: [{ path: 'empty', is_dir: false }] })
    const got = await get('r/a.txt')
    expect(await got.text()).toBe('hello')
    expect(Object.fromEntries(got.headers)).toMatchObject({
      'content-type': 'text/plain',
      'content-disposition': 'attachment; filename=a.txt',
      'x-content-type-options': 'nosniff',
      'accept-ranges': 'bytes',
      'content-length': '5',
    })
    expect((await get('r/d')).status).toBe(400)
    expect(await (await get('r/d')).json()).toEqual({ detail: "Artifact path refers to a directory, not a file: 'r/d'" })
    for (let i = 0; i < 2; i++) expect((await fetch(`${door.url}/r`, { method: 'DELETE' })).status).toBe(200)
    expect((await get('r/a.txt')).status).toBe(404)
  })

  test('names with a number sign are put, listed, got, uploaded in parts and deleted', async () => {
    for (const path of ['n/cat%23name.png', 'n/cat%2523two.png', 'n/a%23b%25step%250%3F.png', 'n/end%23']) {
      expect((await put(path, path)).status).toBe(200)
      const got = await get(path)
      expect([await got.text(), got.headers.get('content-disposition')]).toEqual([path, expect.stringContaining('#')])
    }
    const mpu = (call: string, body: object) =>
      fetch(door.url.replace(/artifacts$/, `mpu/${call}/n%23`), { method: 'POST', body: JSON.stringify(body), headers: JSON_BODY })
    const begun = await mpu('create', { path: 'big#.bin', num_parts: 1 })
    const { upload_id, credentials } = (await begun.json()) as { upload_id: string; credentials: { url: string }[] }
    const etag = (await fetch(credentials[0]?.url ?? '', { method: 'PUT', body: 'part' })).headers.get('etag')
    expect((await mpu('complete', { path: 'big#.bin', upload_id, parts: [{ part_number: 1, etag }] })).status).toBe(200)
    expect(await readdir(join(data, 'n'))).toEqual(expect.arrayContaining(['a#b%step%0?.png', 'cat#name.png', 'cat#two.png', 'end#']))
    expect(await readdir(join(data, 'n#'))).toEqual(['big#.bin'])
    expect(await list('n#')).toEqual({ files: [{ path: 'big#.bin', is_dir: false, file_size: 4 }] })
    for (const path of ['n', 'n%23']) expect((await fetch(`${door.url}/${path}`, { method: 'DELETE' })).status).toBe(200)
    expect((await readdir(data)).filter(name => name.startsWith('n'))).toEqual([])
  })

  test('names say what files are served as', async () => {
    const types = {
      'a.yaml': 'text/plain',
      MLmodel: 'text/plain',
      mlproject: 'text/plain',
      MLproject: 'application/octet-stream',
      'a.png': 'image/png',
      'a.pkl': 'application/octet-stream',
    }
    for (const [name, type] of Object.entries(types)) {
      await put(`types/${name}`, 'x')
      expect([name, (await get(`types/${name}`, { Accept: 'text/html' })).headers.get('content-type')]).toEqual([name, type])
    }
  })

  test('ranges and versions are honoured', async () => {
    await put('v/x.bin', '0123456789')
    const whole = await get('v/x.bin')
    const etag = whole.headers.get('etag') ?? ''
    const part = await get('v/x.bin', { Range: 'bytes=2-4' })
    expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([206, 'bytes 2-4/10', '234'])
    expect(await (await get('v/x.bin', { Range: 'bytes=-2' })).text()).toBe('89')
    const beyond = await get('v/x.bin', { Range: 'bytes=10-' })
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */10'])
    expect((await get('v/x.bin', { Range: 'lines=1-2' })).status).toBe(400)
    expect((await get('v/x.bin', { 'If-None-Match': `"other", W/${etag}` })).status).toBe(304)
    expect((await get('v/x.bin', { Range: 'bytes=0-0', 'If-Range': etag })).status).toBe(206)
    await put('v/x.bin', 'changed')
    const since = await get('v/x.bin', { Range: 'bytes=0-0', 'If-Range': etag })
    expect([since.status, await since.text()]).toEqual([200, 'changed'])
    const head = await fetch(`${door.url}/v/x.bin`, { method: 'HEAD' })
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '7'])
  })

  test('a path is shown as it was written, its name without slashes and dots after it', async () => {
    await put('w/in.txt', '1')
    const message = async (path: string) => ((await (await get(path)).json()) as { message: string }).message
    expect(await message('w/none/')).toBe("No such artifact: 'w/none/'")
    expect(await message('w//none')).toBe("No such artifact: 'w//none'")
    const odd = await get('w/in.txt/')
    expect([odd.status, odd.headers.get('content-type'), odd.headers.get('content-disposition')]).toEqual([
      200,
      'text/plain',
      'attachment; filename=in.txt',
    ])
    expect(await (await get('w/in.txt', { Range: 'bytes= 0 - 0' })).text()).toBe('1')
  })

  test.each(['w/.', '....//x', '..;/x', '.../x/y'])('%s is no place to put an artifact', async path => {
    const { status } = await put(path, '1')
    expect(status).toBe(400)
    expect(await readdir(data)).not.toContain(path.split('/')[0] === 'w' ? 'none' : path.split('/')[0])
  })

  test('a folder is not deleted by its dot', async () => {
    await put('dot/a', '1')
    const route = new URL(door.url).pathname
    expect(await rawStatus(door.url, 'DELETE', `${route}/dot/.`)).toBe(400)
    expect(await (await get('dot/a')).text()).toBe('1')
  })

  test('a path that climbs is refused before a body without parameters', async () => {
    for (const verb of ['create', 'complete', 'abort']) {
      const url = door.url.replace(/artifacts$/, `mpu/${verb}/%2e%2e%2fx`)
      for (const headers of [{ 'Content-Type': 'application/json' }, { 'Content-Type': 'text/plain' }]) {
        const answer = await fetch(url, { method: 'POST', body: '{}', headers })
        expect([answer.status, ((await answer.json()) as { message: string }).message]).toEqual([400, 'Invalid path'])
      }
    }
  })

  test('names that are not ASCII have both forms in the disposition', async () => {
    const name = encodeURIComponent('s p+é.txt')
    await put(`n/${name}`, '1')
    const disposition = (await get(`n/${name}`)).headers.get('content-disposition')
    expect(disposition).toBe(`attachment; filename="s p+e.txt"; filename*=UTF-8''s%20p+%C3%A9.txt`)
  })

  test.each([
    '..',
    '../outside.txt',
    'a/../../outside.txt',
    '%2e%2e/outside.txt',
    '%2e%2e%2foutside.txt',
    '%252e%252e/outside.txt',
    '%25252e%25252e%25252foutside.txt',
    '..%5c..%2foutside.txt/..',
    '/etc/passwd',
    '%2fetc/passwd',
    '%252fetc/passwd',
    'file:///etc/passwd',
    'file:%2f%2f%2fetc/passwd',
    'C:/windows/x',
    'C:%5Cwindows',
    '%5c%5chost%5cshare%5cx',
    'nul%00.txt',
    'nul%2500.txt',
    'a/.artifact.uploading.x',
    `${'x'.repeat(300)}`,
    `${'d/'.repeat(3000)}f`,
    '%25'.repeat(20),
  ])('%s is refused with 4xx in every call', async path => {
    const route = new URL(door.url).pathname
    const expected = [400, 404, 431]
    for (const method of ['PUT', 'GET', 'DELETE']) {
      const status = await rawStatus(door.url, method, `${route}/${path}`, method === 'PUT' ? 'x' : undefined)
      if (method === 'DELETE' && status === 200) continue
      if (/^(%25)+$/.test(path) && status === 200) continue
      expect(expected, `${method} ${status}`).toContain(status)
    }
    expect(await readdir(base)).toEqual(expect.arrayContaining(['outside.txt']))
    expect((await readdir(base)).length).toBeLessThanOrEqual(2)
  })

  test('a file in the place of a folder and the reverse are 4xx', async () => {
    await put('f/a', '1')
    expect((await put('f/a/b', '2')).status).toBe(400)
    expect((await put('f', '3')).status).toBe(400)
    expect(await (await get('f/a')).text()).toBe('1')
  })

  test('512 MiB pass both ways in bounded memory', async () => {
    const before = process.memoryUsage.rss()
    let highest = before
    const watch = setInterval(() => {
      highest = Math.max(highest, process.memoryUsage.rss())
    }, 20)
    try {
      await new Promise<void>((resolve, reject) => {
        const sent = request(`${door.url}/big.bin`, { method: 'PUT' }, response => response.resume().once('end', resolve))
        sent.once('error', reject)
        generated(BIG_BYTES).pipe(sent)
      })
      const found = await new Promise<{ length: number; sha256: string }>((resolve, reject) => {
        request(`${door.url}/big.bin`, response => digest(response).then(resolve, reject))
          .once('error', reject)
          .end()
      })
      expect(found).toEqual(await digest(generated(BIG_BYTES)))
    } finally {
      clearInterval(watch)
    }
    expect(highest - before).toBeLessThan(RSS_GROWTH_BYTES_MAX)
    await fetch(`${door.url}/big.bin`, { method: 'DELETE' })
  })

  test.each([{}, { 'Content-Length': 50_000_000 }, { 'Content-Length': 100 }])(
    'a client that is killed while it uploads with %j leaves no file',
    async headers => {
      const sent = request(`${door.url}/killed/deep/model.bin`, { method: 'PUT', headers })
      sent.on('error', () => undefined)
      sent.write(Buffer.alloc(60))
      if (!headers['Content-Length'] || headers['Content-Length'] > 100) Readable.from(generated(20_000_000)).pipe(sent, { end: false })
      await sleep(150)
      sent.destroy()
      await expect.poll(() => readdir(data)).not.toContain('killed')
    },
  )

  test('a client that is killed while it downloads frees the file', async () => {
    await put('dl.bin', Buffer.alloc(30_000_000))
    const files = async () => (await readdir('/proc/self/fd').catch(() => [])).length
    const before = await files()
    for (let i = 0; i < 10; i++) {
      await new Promise<void>(resolve => {
        const sent = request(`${door.url}/dl.bin`, response => {
          response.once('data', () => sent.destroy())
          response.once('close', () => resolve())
          response.on('error', () => undefined)
        }).end()
        sent.on('error', () => undefined)
      })
    }
    await expect.poll(files).toBeLessThan(before + 5)
  })
})
