import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { filesBelow } from '../compat/deletion.ts'
import { httpClient } from '../services/http.ts'
import { millrace, startTarget } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'

const api = '/api/2.0/mlflow'
const upload = '/ajax-api/2.0/mlflow/upload-artifact'

test.each([
  ['a folder', (folder: string) => join(folder, 'art')],
  ['a folder with # and ? in its name', (folder: string) => join(folder, 'c#', 'what?')],
  ['a URI', (folder: string) => `${pathToFileURL(folder)}/art`],
  ['a URI with query and fragment', (folder: string) => `${pathToFileURL(folder)}/art?query=x#fragment`],
])('runs keep their artifacts below %s, and gc removes them', async (_, rootOf) => {
  await using folder = await tempFolder('direct')
  await using server = await startTarget('server', { cwd: folder.path, args: ['--default-artifact-root', rootOf(folder.path)] })
  using client = httpClient(server.url)
  const { run } = await client.ok<{ run: { info: { run_id: string; artifact_uri: string } } }>('POST', `${api}/runs/create`, {
    experiment_id: '0',
  })
  const id = run.info.run_id
  for (const path of ['a.txt', 'd/b.txt']) {
    expect((await client.send('POST', `${upload}?run_uuid=${id}&path=${path}`, path)).status).toBe(200)
  }
  const list = async (path: string) =>
    (await client.ok<{ files: unknown[] }>('GET', `${api}/artifacts/list?run_id=${id}&path=${path}`)).files
  const top = [
    { path: 'a.txt', is_dir: false, file_size: 5 },
    { path: 'd', is_dir: true },
  ]
  for (const path of ['', '.', './', './/']) expect(await list(path)).toEqual(top)
  for (const path of ['d', 'd/', './d', 'd/.', 'd//']) expect(await list(path)).toEqual([{ path: 'd/b.txt', is_dir: false, file_size: 7 }])
  for (const path of ['a.txt', './a.txt', 'a.txt/']) {
    const got = await client.send('GET', `/get-artifact?run_id=${id}&path=${path}`)
    expect([got.text, got.headers['content-type'], got.headers['content-disposition']]).toEqual([
      'a.txt',
      'text/plain',
      'attachment; filename=a.txt',
    ])
  }
  const files = async () => (await filesBelow(folder.path)).filter(file => file.endsWith('.txt'))
  expect((await files()).map(file => file.slice(file.indexOf(id)))).toEqual([`${id}/artifacts/a.txt`, `${id}/artifacts/d/b.txt`])
  await client.ok('POST', `${api}/runs/delete`, { run_id: id })
  const { code, stderr } = await millrace(['gc', '--tracking-uri', server.url], { cwd: folder.path })
  expect([code, stderr]).toEqual([0, ''])
  expect(await files()).toEqual([])
})
