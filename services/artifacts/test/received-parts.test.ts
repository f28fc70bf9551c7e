import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { filesBelow } from '../../../test/compat/deletion.ts'
import { type TempFolder, tempFolder } from '../../../test/services/process.ts'
import { type FrontDoor, openFrontDoor, rawStatus } from './front-door.ts'

interface Upload {
  upload_id: string
  credentials: { url: string; part_number: number; headers?: Record<string, string> }[]
}

const PARTS_FOLDER = '.artifact.uploading.parts'

describe.each([false, true])('parts that the server receives, artifacts in a process of their own: %s', apart => {
  let folder: TempFolder
  let door: FrontDoor
  let api: string
  beforeAll(async () => {
    folder = await tempFolder('parts')
    door = await openFrontDoor(join(folder.path, 'data'), { apart })
    api = door.url.replace(/\/artifacts$/, '/mpu')
  })
  afterAll(async () => {
    await door?.[Symbol.asyncDispose]()
    await folder?.[Symbol.asyncDispose]()
  })

  const post = async (step: string, path: string, body: unknown, headers = {}) => {
    const [, at = '', name = ''] = /^(.*)\/([^/]*)$/.exec(path) ?? []
    const sent = JSON.stringify({ path: name, ...(body as object) })
    const response = await fetch(`${api}/${step}/${at}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: sent,
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const create = async (path: string, num_parts: number) => (await post('create', path, { num_parts })).body as unknown as Upload
  const put = async (url: string, content: string) => {
    const response = await fetch(url, { method: 'PUT', body: content })
    return { status: response.status, etag: response.headers.get('etag') ?? '', text: await response.text() }
  }
  const sendAll = (upload: Upload, contents: string[]) =>
    Promise.all(
      upload.credentials.map(async ({ url, part_number }, i) => {
        const { status, etag } = await put(url, contents[i] ?? '')
        expect(status).toBe(200)
        return { part_number, etag, url }
      }),
    )
  const data = () => filesBelow(join(folder.path, 'data'))
  const partFiles = async () => (await data()).filter(name => name.startsWith(PARTS_FOLDER))

  test('parts go to this server, are not seen, and become the object with the completion', async () => {
    const upload = await create('a b/joined.bin', 3)
    expect(upload.credentials.map(one => one.part_number)).toEqual([1, 2, 3])
    for (const { url } of upload.credentials) expect(url.startsWith(`${api}/part/`)).toBe(true)
    const parts = await sendAll(upload, ['one ', 'two ', 'three'])
    expect((await fetch(`${door.url}/a%20b/joined.bin`)).status).toBe(404)
    expect(await (await fetch(`${door.url}?path=`)).json()).toEqual({})
    const hidden = `${PARTS_FOLDER}/${upload.upload_id}`
    expect((await fetch(`${door.url}/${hidden}/1`)).status).toBe(404)
    await fetch(`${door.url}/${hidden}`, { method: 'DELETE' })
    expect((await put(`${door.url}/${hidden}/1`, 'x')).status).toBe(400)
    const { upload_id } = upload
    expect(await post('complete', 'a b/joined.bin', { upload_id, parts: parts.toReversed() })).toEqual({ status: 200, body: {} })
    expect(await (await fetch(`${door.url}/a%20b/joined.bin`)).text()).toBe('one two three')
    expect(await partFiles()).toEqual([])
    expect((await post('complete', 'a b/joined.bin', { upload_id, parts })).status).toBe(200)
    expect((await post('abort', 'a b/joined.bin', { upload_id })).status).toBe(200)
    expect(await (await fetch(`${door.url}/a%20b/joined.bin`)).text()).toBe('one two three')
  })

  test('a part that is sent again replaces the one before, whose ETag no longer completes', async () => {
    const upload = await create('x/again.txt', 1)
    const [first] = await sendAll(upload, ['first'])
    const [second] = await sendAll(upload, ['other'])
    const complete = (part: unknown) => post('complete', 'x/again.txt', { upload_id: upload.upload_id, parts: [part] })
    expect((await complete(first)).status).toBe(400)
    expect((await fetch(`${door.url}/x/again.txt`)).status).toBe(404)
    expect((await complete(second)).status).toBe(200)
    expect(await (await fetch(`${door.url}/x/again.txt`)).text()).toBe('other')
  })

  test('an aborted upload takes no more parts and leaves nothing', async () => {
    const upload = await create('x/gone.txt', 2)
    const parts = await sendAll(upload, ['1', '2'])
    const { upload_id } = upload
    expect((await post('abort', 'x/gone.txt', { upload_id })).status).toBe(200)
    expect((await post('abort', 'x/gone.txt', { upload_id })).status).toBe(200)
    expect((await put(upload.credentials[0]?.url ?? '', '1')).status).toBe(404)
    expect((await post('complete', 'x/gone.txt', { upload_id, parts })).status).toBe(404)
    expect(await partFiles()).toEqual([])
  })

  test('an upload is completed and aborted for its own artifact only', async () => {
    const upload = await create('x/mine.txt', 1)
    const parts = await sendAll(upload, ['mine'])
    const { upload_id } = upload
    expect((await post('complete', 'x/other.txt', { upload_id, parts })).status).toBe(404)
    expect((await post('abort', 'x/other.txt', { upload_id })).status).toBe(200)
    expect((await post('complete', 'x/mine.txt', { upload_id, parts })).status).toBe(200)
    expect((await fetch(`${door.url}/x/other.txt`)).status).toBe(404)
  })

  test('odd parts and foreign uploads are the client’s error', async () => {
    const upload = await create('x/odd.txt', 2)
    const url = upload.credentials[0]?.url ?? ''
    const at = (number: string) => url.replace(/\/1$/, `/${number}`)
    for (const number of ['0', '3', '10001', '-1', '1.5', '1e0', 'key', '99999999999999999999']) {
      expect((await put(at(number), 'x')).status, number).toBe(400)
    }
    const target = new URL(url).pathname
    for (const odd of ['..%2f..%2fetc', '%2e%2e', 'x'.repeat(200), `${upload.upload_id}x`, upload.upload_id.replace('-2-', '-9-')]) {
      const status = await rawStatus(api, 'PUT', target.replace(upload.upload_id, odd), 'x')
      expect([400, 404], odd).toContain(status)
    }
    const [part] = await sendAll({ ...upload, credentials: upload.credentials.slice(0, 1) }, ['x'])
    const complete = (parts: unknown[]) => post('complete', 'x/odd.txt', { upload_id: upload.upload_id, parts })
    expect((await complete([part, part])).status).toBe(400)
    expect((await complete([part, { part_number: 2, etag: '"none"', url: '' }])).status).toBe(400)
    expect((await complete([])).status).toBe(400)
    expect((await post('create', 'x/odd.txt', { num_parts: 10_001 })).status).toBe(400)
    expect((await post('create', 'x/.artifact.uploading.parts', { num_parts: 1 })).status).toBe(400)
    expect((await post('complete', 'x/odd.txt', { upload_id: '../../x', parts: [part] })).status).toBe(404)
    await post('abort', 'x/odd.txt', { upload_id: upload.upload_id })
    expect(await partFiles()).toEqual([])
  })

  test('a part larger than may be is refused before it is sent', async () => {
    const upload = await create('x/large.bin', 1)
    const { hostname, port, pathname } = new URL(upload.credentials[0]?.url ?? '')
    const status = await new Promise((resolve, reject) => {
      const headers = { 'Content-Length': 6 * 1024 ** 3 }
      const sent = request({ hostname, port, method: 'PUT', path: pathname, headers }, response => {
        resolve(response.statusCode)
        sent.destroy()
      })
      sent.on('error', reject)
      sent.flushHeaders()
    })
    expect(status).toBe(400)
    await post('abort', 'x/large.bin', { upload_id: upload.upload_id })
  })

  test('switched off, there is no multipart upload', async () => {
    await using other = await openFrontDoor(join(folder.path, 'other'), { apart, gatewayEnv: { MILLRACE_RECEIVE_PARTS: 'false' } })
    const base = new URL(other.url).origin
    const body = JSON.stringify({ path: 'a', num_parts: 1 })
    const headers = { 'Content-Type': 'application/json' }
    const created = await fetch(`${base}/api/2.0/mlflow-artifacts/mpu/create/x`, { method: 'POST', body, headers })
    expect([created.status, await created.json()]).toMatchObject([
      501,
      { message: 'Multipart upload is not supported for the current artifact repository' },
    ])
    const info = await fetch(`${base}/api/3.0/mlflow/server-info`)
    expect(await info.json()).toMatchObject({ multipart_uploads_enabled: false })
  })

  test('the URLs lead to where a proxy in front says that it was asked', async () => {
    const headers = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'ml.example:8443', 'X-Forwarded-Prefix': '/team' }
    const { body } = await post('create', 'x/proxied.txt', { num_parts: 1 }, headers)
    const { upload_id, credentials } = body as unknown as Upload
    expect(credentials[0]?.url).toBe(`https://ml.example:8443/team/api/2.0/mlflow-artifacts/mpu/part/${upload_id}/1`)
    await post('abort', 'x/proxied.txt', { upload_id })
  })
})
