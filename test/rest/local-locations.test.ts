import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { filesBelow } from '../compat/deletion.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, millrace, startTarget } from '../services/millrace.ts'
import { type TempFolder, tempFolder } from '../services/process.ts'

const api = '/api/2.0/mlflow'
const upload = '/ajax-api/2.0/mlflow/upload-artifact'
const database = 'mlflow.db'

interface Info {
  run_id: string
  artifact_uri: string
}

async function createRun(client: HttpClient, experiment_id = '0'): Promise<Info> {
  return (await client.ok<{ run: { info: Info } }>('POST', `${api}/runs/create`, { experiment_id })).run.info
}

async function createIn(client: HttpClient, artifact_location: string): Promise<Info> {
  const { experiment_id } = await client.ok<{ experiment_id: string }>('POST', `${api}/experiments/create`, {
    name: `in ${artifact_location}`,
    artifact_location,
  })
  return createRun(client, experiment_id)
}

/** What MLflow wrote as a run's location, and the folder below the working folder that it means. */
const SPELLINGS: readonly (readonly [(cwd: string) => string, string])[] = [
  [() => './mlruns/0/RUN/artifacts', 'mlruns/0/RUN/artifacts'],
  [() => 'mlruns/0/RUN/artifacts', 'mlruns/0/RUN/artifacts'],
  [() => './/mlruns//0/./RUN/artifacts//', 'mlruns/0/RUN/artifacts'],
  [() => 'file:./mlruns/0/RUN/artifacts', 'mlruns/0/RUN/artifacts'],
  [() => 'file:mlruns/0/RUN/artifacts/', 'mlruns/0/RUN/artifacts'],
  [cwd => `FILE://${cwd}/mlruns/0/RUN/artifacts`, 'mlruns/0/RUN/artifacts'],
  [cwd => `file:${cwd}/mlruns/0/RUN/artifacts`, 'mlruns/0/RUN/artifacts'],
  [cwd => `file:////${cwd}/mlruns/0/RUN/artifacts`, 'mlruns/0/RUN/artifacts'],
  [cwd => `file://localhost${cwd}/mlruns//0/RUN/artifacts//`, 'mlruns/0/RUN/artifacts'],
  [cwd => `${cwd}/mlruns/a%20b/RUN/artifacts`, 'mlruns/a b/RUN/artifacts'],
  [cwd => `${cwd}/mlruns/100%/c%23%3F/RUN/artifacts`, 'mlruns/100%/c#?/RUN/artifacts'],
  [cwd => `${cwd}/mlruns/c#/d?/RUN/artifacts`, 'mlruns/c#/d?/RUN/artifacts'],
  [cwd => `file://${cwd}/mlruns/%C3%A9%2523%20x/RUN/artifacts?q=1#f`, 'mlruns/é%23 x/RUN/artifacts'],
  [cwd => `${cwd}/mlartifacts/../mlruns/up/RUN/artifacts`, 'mlruns/up/RUN/artifacts'],
  [() => 'mlartifacts/../mlruns/%2e%2e/mlruns/up/RUN/artifacts', 'mlruns/up/RUN/artifacts'],
  [cwd => `file:../${basename(cwd)}/mlruns/up/RUN/artifacts`, 'mlruns/up/RUN/artifacts'],
  [() => 'mlartifacts/é x/RUN/artifacts', 'mlartifacts/é x/RUN/artifacts'],
  [() => 'mlflow-artifacts:/e%20%C3%A9%2523/RUN/artifacts', 'mlartifacts/e é#/RUN/artifacts'],
  [() => 'mlflow-artifacts:///0//RUN/artifacts/', 'mlartifacts/0/RUN/artifacts'],
]

describe('local locations that MLflow wrote', () => {
  let folder: TempFolder
  let server: Millrace
  let client: HttpClient
  const runs: { id: string; files: string; uri: string }[] = []
  const models: { id: string; files: string; uri: string }[] = []
  const start = async () => {
    server = await startTarget('server', { cwd: folder.path, args: ['--backend-store-uri', `sqlite:///${database}`] })
    client = httpClient(server.url)
  }
  const stop = async () => {
    client?.[Symbol.dispose]()
    await server?.[Symbol.asyncDispose]()
  }
  beforeAll(async () => {
    folder = await tempFolder('local locations')
    await start()
    for (const [uriIn, below] of SPELLINGS) {
      const { run_id: id } = await createRun(client)
      const { model } = await client.ok<{ model: { info: { model_id: string } } }>('POST', `${api}/logged-models`, { experiment_id: '0' })
      const at = (name: string) => ({ uri: uriIn(folder.path).replace('RUN', name), files: below.replace('RUN', name) })
      runs.push({ id, ...at(id) })
      models.push({ id: model.info.model_id, ...at(model.info.model_id) })
    }
    await stop()
    const db = new DatabaseSync(join(folder.path, database))
    for (const { id, uri } of runs) db.prepare('update runs set artifact_uri = ? where run_uuid = ?').run(uri, id)
    for (const { id, uri } of models) db.prepare('update logged_models set artifact_location = ? where model_id = ?').run(uri, id)
    db.close()
    for (const { files } of [...runs, ...models]) {
      await mkdir(join(folder.path, files, 'd'), { recursive: true })
      await writeFile(join(folder.path, files, 'd/a#1.txt'), 'a')
    }
    await start()
  }, 60_000)
  afterAll(async () => {
    await stop()
    await folder[Symbol.asyncDispose]()
  })

  test.each(SPELLINGS.map(([uriIn], i) => [uriIn('CWD'), i] as const))('%s is listed, served and written to', async (_, i) => {
    const { id, files, uri } = runs[i] ?? { id: '', files: '', uri: '' }
    expect(await client.ok('GET', `${api}/artifacts/list?run_id=${id}&path=d`)).toEqual({
      root_uri: uri,
      files: [{ path: 'd/a#1.txt', is_dir: false, file_size: 1 }],
    })
    expect((await client.send('GET', `/get-artifact?run_id=${id}&path=d/a%231.txt`)).text).toBe('a')
    expect((await client.send('POST', `${upload}?run_uuid=${id}&path=b%23.txt`, 'b')).status).toBe(200)
    expect(await readFile(join(folder.path, files, 'b#.txt'), 'utf8')).toBe('b')
    const model = `/ajax-api/2.0/mlflow/logged-models/${models[i]?.id}/artifacts/files?artifact_file_path=d/a%231.txt`
    expect((await client.send('GET', model)).text).toBe('a')
  })

  test('gc removes all of them, through the server and without one', async () => {
    const half = Math.floor(runs.length / 2)
    const left = async () => (await filesBelow(folder.path)).filter(file => file.endsWith('.txt'))
    for (const { id } of runs) await client.ok('POST', `${api}/runs/delete`, { run_id: id })
    for (const { id } of models) await client.ok('DELETE', `${api}/logged-models/${id}`)
    const some = [
      '--run-ids',
      runs
        .slice(0, half)
        .map(({ id }) => id)
        .join(),
      '--logged-model-ids',
      models
        .slice(0, half)
        .map(({ id }) => id)
        .join(),
    ]
    const through = await millrace(['gc', '--tracking-uri', server.url, ...some], { cwd: folder.path })
    expect([through.code, through.stderr]).toEqual([0, ''])
    expect(await left()).toHaveLength((runs.length - half) * 3)
    await stop()
    const elsewhere = join(folder.path, 'elsewhere')
    await mkdir(elsewhere)
    const relative = (all: typeof runs) => all.slice(half).filter(({ uri }) => /^(file:)?[a-z.]+\//.test(uri))
    const ids = [relative(runs), relative(models)].map(all => all.map(({ id }) => id))
    const named = ['--run-ids', ids[0]?.join() ?? '', '--logged-model-ids', ids[1]?.join() ?? '']
    const away = await millrace(['gc', '--backend-store-uri', `sqlite:///${join(folder.path, database)}`, ...named], { cwd: elsewhere })
    expect([away.code, away.stdout]).toEqual([1, ''])
    expect(ids.flat().length).toBeGreaterThan(0)
    for (const id of ids.flat()) expect(away.stderr).toMatch(new RegExp(`with ID ${id} has not been deleted: .* is relative to the folder`))
    const without = await millrace(['gc', '--backend-store-uri', `sqlite:///${database}`], { cwd: folder.path })
    expect([without.code, without.stderr]).toEqual([0, ''])
    expect(await left()).toEqual([])
  })
})

describe('local folders that nobody allowed', () => {
  let folder: TempFolder
  let work: string
  let server: Millrace
  let client: HttpClient
  const args = ['--backend-store-uri', `sqlite:///${database}`, '--artifacts-destination', 'art']
  beforeAll(async () => {
    folder = await tempFolder('outside')
    work = join(folder.path, 'work')
    for (const name of ['work/mlruns', 'etc', 'more', 'profile', 'work-too']) await mkdir(join(folder.path, name), { recursive: true })
    await symlink(join(folder.path, 'etc'), join(work, 'mlruns/out'))
    await symlink(join(work, 'mlruns'), join(folder.path, 'to-mlruns'))
    await symlink('loop', join(work, 'mlruns/loop'))
    await writeFile(join(folder.path, 'etc/passwd'), 'x')
    const profiles = join(folder.path, 'profiles.json')
    await writeFile(profiles, JSON.stringify({ own: { prefixes: [`file://${folder.path}/profile`], settings: {} } }))
    const allowed = ['--allowed-artifact-folders', `../more, ${pathToFileURL(folder.path)}/a%20b`]
    server = await startTarget('server', { cwd: work, args: [...args, ...allowed], env: { MILLRACE_STORAGE_PROFILES: profiles } })
    client = httpClient(server.url)
  }, 60_000)
  afterAll(async () => {
    client[Symbol.dispose]()
    await server[Symbol.asyncDispose]()
    await folder[Symbol.asyncDispose]()
  })
  const files = async () => (await filesBelow(folder.path)).filter(file => file.endsWith('pwn.txt'))

  test.each([
    'file:///BASE/etc',
    '/BASE/etc',
    'FILE:/BASE/etc',
    'file://localhost/BASE/%65tc',
    '/BASE/work/mlruns/../../etc',
    '/BASE/work/mlruns/out',
    'file:mlruns/out/deeper',
    '/BASE/work/mlruns/loop',
    '/BASE/work-too',
    '/BASE/work',
    '.',
    '/BASE',
    '/',
    '../etc',
    '/BASE/etc/passwd/x',
    '/BASE/absent',
  ])('%s is recorded and not touched', async location => {
    const base = folder.path.slice(1)
    const { run_id: id, artifact_uri: uri } = await createIn(client, location.replace('BASE', base))
    const calls = [
      await client.send('POST', `${upload}?run_uuid=${id}&path=pwn.txt`, 'x'),
      await client.send('GET', `${api}/artifacts/list?run_id=${id}`),
      await client.send('GET', `/get-artifact?run_id=${id}&path=passwd`),
      await client.send('POST', `${api}/artifacts/presigned-upload-url`, { run_id: id, path: 'x' }),
    ]
    for (const { status, text } of calls) {
      expect(JSON.parse(text)).toMatchObject({
        error_code: 'PERMISSION_DENIED',
        message:
          `The tracking server does not use artifact location '${uri}': it is outside the folders that this server keeps artifacts in. ` +
          'Name its folder with --allowed-artifact-folders, or MILLRACE_ALLOWED_ARTIFACT_FOLDERS, on the server to allow it.',
      })
      expect(status).toBe(403)
    }
    expect(await files()).toEqual([])
  })

  test.each([
    'mlruns',
    'file:mlruns/deep/er',
    '/BASE/work/art/x',
    '/BASE/more',
    '/BASE/a b/c',
    '/BASE/a%20b',
    '/BASE/to-mlruns/y',
    'file:///BASE/profile/x',
    'mlartifacts',
  ])('%s is used', async location => {
    const { run_id: id } = await createIn(client, location.replace('BASE', folder.path.slice(1)))
    expect((await client.send('POST', `${upload}?run_uuid=${id}&path=fine.txt`, 'x')).status).toBe(200)
    expect((await client.send('GET', `/get-artifact?run_id=${id}&path=fine.txt`)).text).toBe('x')
  })

  test('gc through the server leaves them, with the reason; the operator’s own gc removes them', async () => {
    const { run_id: id } = await createIn(client, `${folder.path}/etc/gc`)
    const run = join(folder.path, 'etc/gc', id, 'artifacts')
    await mkdir(run, { recursive: true })
    await writeFile(join(run, 'pwn.txt'), 'x')
    await client.ok('POST', `${api}/runs/delete`, { run_id: id })
    const through = await millrace(['gc', '--tracking-uri', server.url, '--run-ids', id], { cwd: work })
    expect(through.code).toBe(1)
    expect(through.stderr).toContain('--allowed-artifact-folders')
    expect(await files()).toHaveLength(1)
    await server[Symbol.asyncDispose]()
    const own = await millrace(['gc', ...args, '--run-ids', id], { cwd: work })
    expect([own.code, own.stderr]).toEqual([0, ''])
    expect(await files()).toEqual([])
  })

  test('without served artifacts there is no such rule', async () => {
    await using plain = await startTarget('server', {
      cwd: work,
      args: ['--backend-store-uri', `sqlite:///${database}`, '--no-serve-artifacts'],
    })
    using to = httpClient(plain.url)
    const { run_id: id } = await createIn(to, `${folder.path}/etc/direct`)
    expect((await to.send('POST', `${upload}?run_uuid=${id}&path=fine.txt`, 'x')).status).toBe(200)
  })
})

test('a destination is percent-decoded as MLflow does, a file: URI may be relative', async () => {
  await using folder = await tempFolder('destinations')
  for (const [destination, below] of [
    [`${folder.path}/a%20b`, 'a b'],
    ['c%2520d%', 'c%20d%'],
    ['file:rel/e', 'rel/e'],
    ['file:./rel//f/', 'rel/f'],
    [`FILE://localhost${folder.path}/g%23h`, 'g#h'],
  ] as const) {
    const args = ['--artifacts-only', '--artifacts-destination', destination]
    await using server = await startTarget('server', { cwd: folder.path, args })
    using client = httpClient(server.url)
    const path = '/api/2.0/mlflow-artifacts/artifacts/1/x%23y.txt'
    expect((await client.send('PUT', path, 'kept')).status).toBe(200)
    expect(await readFile(join(folder.path, below, '1/x#y.txt'), 'utf8')).toBe('kept')
    expect((await client.send('GET', path)).text).toBe('kept')
  }
})
