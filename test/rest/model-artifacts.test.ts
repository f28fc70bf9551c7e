import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { filesBelow } from '../compat/deletion.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, millrace, startTarget } from '../services/millrace.ts'
import { type TempFolder, tempFolder } from '../services/process.ts'

const models = '/api/2.0/mlflow/logged-models'
const files = (id: string) => `/ajax-api/2.0/mlflow/logged-models/${id}/artifacts/files`

describe.each([
  ['behind the proxy', () => []],
  ['in a folder of their own', (folder: string) => ['--default-artifact-root', join(folder, 'direct')]],
])('artifacts of logged models %s', (_, args) => {
  let folder: TempFolder
  let server: Millrace
  let client: HttpClient
  let model: { model_id: string; artifact_uri: string }

  const newModel = async () =>
    (await client.ok<{ model: { info: typeof model } }>('POST', models, { experiment_id: '0', name: 'm' })).model.info
  const list = (query = '', id = model.model_id) => client.send('GET', `${models}/${id}/artifacts/directories${query}`)
  const get = (path: string, headers = {}, method = 'GET') =>
    client.send(method, `${files(model.model_id)}?artifact_file_path=${encodeURIComponent(path)}`, undefined, headers)

  beforeAll(async () => {
    folder = await tempFolder('model-artifacts')
    const stored = ['--artifacts-destination', join(folder.path, 'proxied'), ...args(folder.path)]
    server = await startTarget('server', { cwd: folder.path, args: stored })
    client = httpClient(server.url)
    model = await newModel()
    const root = model.artifact_uri.replace('mlflow-artifacts:', join(folder.path, 'proxied'))
    await mkdir(join(root, 'd/s'), { recursive: true })
    for (const path of ['MLmodel', 'd/ü b.html', 'd/s/c.bin']) await writeFile(join(root, path), path)
  })

  afterAll(async () => {
    client?.[Symbol.dispose]()
    await server?.[Symbol.asyncDispose]()
    await folder?.[Symbol.asyncDispose]()
  })

  test('a folder lists its children, relative to the root of the model', async () => {
    const top = [
      { path: 'MLmodel', is_dir: false, file_size: 7 },
      { path: 'd', is_dir: true },
    ]
    for (const query of ['', '?artifact_directory_path=', '?page_token=x']) {
      expect((await list(query)).json()).toEqual({ root_uri: model.artifact_uri, files: top })
    }
    const below = [
      { path: 'd/s', is_dir: true },
      { path: 'd/ü b.html', is_dir: false, file_size: 11 },
    ]
    expect((await list('?artifact_directory_path=d%2F')).json()).toMatchObject({ files: below })
    for (const path of ['none', 'MLmodel']) {
      expect((await list(`?artifact_directory_path=${path}`)).json()).toEqual({ root_uri: model.artifact_uri })
    }
  })

  test('a file comes whole or in part, as a download', async () => {
    const whole = await get('d/ü b.html')
    expect([whole.status, whole.text, whole.headers['content-type']]).toEqual([200, 'd/ü b.html', 'text/html'])
    expect(whole.headers).toMatchObject({
      'content-disposition': `attachment; filename="u b.html"; filename*=UTF-8''%C3%BC%20b.html`,
      'x-content-type-options': 'nosniff',
      'content-length': '11',
    })
    const part = await get('MLmodel', { range: 'bytes=2-4' })
    expect([part.status, part.text, part.headers['content-range']]).toEqual([206, 'mod', 'bytes 2-4/7'])
    const head = await get('MLmodel', {}, 'HEAD')
    expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', '7'])
    expect((await get('d/ü b.html', { 'if-none-match': whole.headers.etag ?? '' })).status).toBe(304)
  })

  test('what is not there, and what is a folder, is 404 or 400 by name', async () => {
    const none = await get('none')
    expect([none.status, none.json()]).toMatchObject([404, { error_code: 'RESOURCE_DOES_NOT_EXIST' }])
    expect((await get('d')).status).toBeGreaterThanOrEqual(400)
    for (const query of ['', '?artifact_file_path=', '?path=MLmodel']) {
      const answer = await client.send('GET', files(model.model_id) + query)
      const message = 'Request must include the "artifact_file_path" query parameter.'
      expect([answer.status, answer.json()]).toMatchObject([400, { error_code: 'BAD_REQUEST', message }])
    }
    expect((await client.send('GET', `${models}/${model.model_id}/artifacts/files?artifact_file_path=MLmodel`)).status).toBe(404)
  })

  test.each(['..', '../x', 'd/../../x', '/etc/passwd', '%2e%2e/x', '%252e%252e/x', 'file:///etc/passwd', 'C:\\x', 'a\0b'])(
    'the path %j leads out and is refused',
    async path => {
      const encoded = encodeURIComponent(path)
      for (const answer of [await get(path), await list(`?artifact_directory_path=${encoded}`)]) {
        expect([answer.status, answer.json()]).toMatchObject([400, { error_code: 'INVALID_PARAMETER_VALUE', message: 'Invalid path' }])
      }
    },
  )

  test('a deleted or unknown model has none', async () => {
    const { model_id: gone } = await newModel()
    expect((await list('', gone)).status).toBe(200)
    await client.ok('DELETE', `${models}/${gone}`)
    for (const id of [gone, 'm-x']) {
      const message = `Logged model with ID '${id}' not found.`
      for (const answer of [await list('', id), await client.send('GET', `${files(id)}?artifact_file_path=MLmodel`)]) {
        expect([answer.status, answer.json()]).toMatchObject([404, { error_code: 'RESOURCE_DOES_NOT_EXIST', message }])
      }
    }
  })

  test('gc removes a named model with its artifacts once it is deleted', async () => {
    const { model_id: id, artifact_uri: uri } = await newModel()
    const root = uri.replace('mlflow-artifacts:', join(folder.path, 'proxied'))
    await mkdir(root, { recursive: true })
    await writeFile(join(root, 'MLmodel'), 'x')
    const gc = () => millrace(['gc', '--tracking-uri', server.url, '--logged-model-ids', id], { cwd: folder.path })
    const active = await gc()
    expect([active.code, active.stderr]).toEqual([
      1,
      expect.stringContaining(
        `Logged model ${id} is not in \`deleted\` lifecycle stage. Only logged models in \`deleted\` lifecycle stage can be deleted.`,
      ),
    ])
    await client.ok('DELETE', `${models}/${id}`)
    const removed = await gc()
    expect([removed.code, removed.stderr]).toEqual([0, ''])
    expect(removed.stdout).toContain(`Logged model with ID ${id} has been permanently deleted.`)
    expect((await client.send('GET', `${models}/${id}?allow_deleted=true`)).status).toBe(404)
    expect((await filesBelow(folder.path)).filter(file => file.includes(id))).toEqual([])
    expect((await list()).json()).toMatchObject({ files: [{ path: 'MLmodel' }, { path: 'd' }] })
  })
})
