import { mkdir, readdir } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Millrace, millrace, startMillrace, startTarget } from '../services/millrace.ts'
import { freePort, listenOnLoopback, type TempFolder, tempFolder } from '../services/process.ts'

const ROUTE = '/api/2.0/mlflow-artifacts/artifacts'
const GC_TIMEOUT_MS = 170_000

/** For recording such locations; it changes nothing about where they lead. */
const ANY_HOST = { MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES: 'http,https,mlflow-artifacts' }

let folder: TempFolder
let keeper: Millrace
let keeperPort: number
const stack = new AsyncDisposableStack()

/** A: a server that keeps artifacts and nothing else. */
async function startKeeper(): Promise<void> {
  const cwd = join(folder.path, 'keeper')
  keeper = await startTarget('server', { cwd, port: keeperPort, args: ['--artifacts-only'] })
}

beforeAll(async () => {
  folder = stack.use(await tempFolder('gc-hosts'))
  await mkdir(join(folder.path, 'keeper'))
  keeperPort = await freePort()
  await startKeeper()
  stack.defer(() => keeper[Symbol.asyncDispose]())
})
afterAll(() => stack.disposeAsync())

async function post<T = { experiment_id: string }>(url: string, path: string, body: unknown): Promise<T> {
  const answer = await fetch(`${url}/api/${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  })
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`)
  return (await answer.json()) as T
}

interface Site {
  cwd: string
  uri: string
}

async function makeSite(name: string): Promise<Site> {
  const cwd = join(folder.path, name)
  await mkdir(cwd)
  return { cwd, uri: `sqlite:///${join(cwd, 'mlflow.db')}` }
}

/** A deleted run in an experiment at `location`, and the path of its artifacts below it. */
async function deletedRun(url: string, location: string): Promise<{ runId: string; path: string }> {
  const { experiment_id } = await post(url, '2.0/mlflow/experiments/create', { name: location, artifact_location: location })
  const { run } = await post<{ run: { info: { run_id: string } } }>(url, '2.0/mlflow/runs/create', { experiment_id })
  const runId = run.info.run_id
  await post(url, '2.0/mlflow/runs/delete', { run_id: runId })
  return { runId, path: `${runId}/artifacts` }
}

async function put(base: string, path: string): Promise<void> {
  expect((await fetch(`${base}/${path}/a.txt`, { method: 'PUT', body: 'a' })).status).toBe(200)
}

const kept = async () =>
  (await readdir(join(folder.path, 'keeper/mlartifacts'), { recursive: true }).catch(() => [])).filter(one => one.endsWith('a.txt'))
const gone = (runId: string) => `Run with ID ${runId} has been permanently deleted.\n`

test('gc without a server removes artifacts at the host that their URI names, whatever is kept here', {
  timeout: GC_TIMEOUT_MS,
}, async () => {
  const { cwd, uri } = await makeSite('http')
  const root = `${keeper.url}${ROUTE}/exp`
  const runs: string[] = []
  {
    await using server = await startMillrace({ cwd, backendStoreUri: uri, artifactsDestination: join(cwd, 'mlartifacts'), env: ANY_HOST })
    for (const location of [root, `mlflow-artifacts://127.0.0.1:${keeperPort}/second`]) {
      const { runId, path } = await deletedRun(server.url, location)
      await put(location === root ? root : `${keeper.url}${ROUTE}/second`, path)
      runs.push(runId)
    }
  }
  await mkdir(join(cwd, 'mlartifacts/exp'), { recursive: true })
  expect((await kept()).length).toBe(2)
  await keeper[Symbol.asyncDispose]()
  const stopped = await millrace(['gc', '--backend-store-uri', uri], { cwd, timeoutMs: GC_TIMEOUT_MS })
  expect(stopped).toMatchObject({ code: 1, stdout: '' })
  for (const runId of runs) expect(stopped.stderr).toMatch(new RegExp(`Run with ID ${runId} has not been deleted: .*not reachable`))
  await startKeeper()
  expect((await kept()).length).toBe(2)
  const { code, stdout } = await millrace(['gc', '--backend-store-uri', uri, '--artifacts-destination', join(cwd, 'mlartifacts')], { cwd })
  expect({ code, stdout: stdout.split('\n').sort().join('\n') }).toEqual({
    code: 0,
    stdout: `\n${runs
      .map(id => gone(id).trim())
      .sort()
      .join('\n')}`,
  })
  expect(await kept()).toEqual([])
})

test('gc takes the 404 of something that is no tracking server for no proof, and sends it no credentials', async () => {
  const { cwd, uri } = await makeSite('wrong')
  const seen: (string | undefined)[] = []
  const other = createServer((request, response) => {
    seen.push(request.headers.authorization)
    response.writeHead(404).end()
  })
  const port = await listenOnLoopback(other)
  try {
    let runId: string
    {
      await using server = await startMillrace({ cwd, backendStoreUri: uri, artifactsDestination: join(cwd, 'mlartifacts'), env: ANY_HOST })
      runId = (await deletedRun(server.url, `http://127.0.0.1:${port}${ROUTE}/exp`)).runId
    }
    const env = { MLFLOW_TRACKING_USERNAME: 'u', MLFLOW_TRACKING_PASSWORD: 'secret' }
    const { code, stdout, stderr } = await millrace(['gc', '--backend-store-uri', uri], { cwd, env })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(`Run with ID ${runId} has not been deleted: What answers at the artifact location is not a tracking server`)
    expect(seen.length).toBeGreaterThan(0)
    expect(new Set(seen)).toEqual(new Set([undefined]))
  } finally {
    other.closeAllConnections()
    other.close()
  }
})

test('gc takes nothing for removed that something else answered 200 to', async () => {
  const { cwd, uri } = await makeSite('agreeing')
  const listing = JSON.stringify({ files: [{ path: 'artifacts', is_dir: true }] })
  const answers: { get: string; delete: string }[] = [
    ...['{}', '[]', 'null', '', '<html>'].map(said => ({ get: said, delete: said })),
    ...['', '<html>', '[]'].map(said => ({ get: listing, delete: said })),
  ]
  const others = answers.map(said =>
    createServer((request, response) => response.end(request.method === 'DELETE' ? said.delete : said.get)),
  )
  try {
    const runs: string[] = []
    {
      await using server = await startMillrace({ cwd, backendStoreUri: uri, artifactsDestination: join(cwd, 'mlartifacts'), env: ANY_HOST })
      for (const other of others) {
        runs.push((await deletedRun(server.url, `http://127.0.0.1:${await listenOnLoopback(other)}${ROUTE}/exp`)).runId)
      }
    }
    const { code, stdout, stderr } = await millrace(['gc', '--backend-store-uri', uri], { cwd, timeoutMs: GC_TIMEOUT_MS })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    for (const runId of runs) expect(stderr).toContain(`Run with ID ${runId} has not been deleted: `)
  } finally {
    for (const other of others) {
      other.closeAllConnections()
      other.close()
    }
  }
})

test('a server asks no host that a client named: it removes what it has itself, and keeps the rest with an error', async () => {
  const { cwd, uri } = await makeSite('own')
  await using server = await startMillrace({
    cwd,
    backendStoreUri: uri,
    artifactsDestination: join(cwd, 'mlartifacts'),
    env: { ...ANY_HOST, MILLRACE_PUBLIC_URL: 'https://mlflow.example.com' },
  })
  const own = `${server.url}${ROUTE}/exp`
  const [here, elsewhere, empty] = await Promise.all(
    [`http://alias.example.com${ROUTE}/exp`, `${keeper.url}${ROUTE}/third`, `https://mlflow.example.com${ROUTE}/none`].map(location =>
      deletedRun(server.url, location),
    ),
  )
  await put(own, here?.path ?? '')
  await put(`${keeper.url}${ROUTE}/third`, elsewhere?.path ?? '')
  const { code, stdout, stderr } = await millrace(['gc', '--tracking-uri', server.url], { cwd })
  expect(code).toBe(1)
  expect(stdout.split('\n').sort()).toEqual(['', gone(here?.runId ?? '').trim(), gone(empty?.runId ?? '').trim()].sort())
  expect(stderr).toContain(`Run with ID ${elsewhere?.runId} has not been deleted: The artifact location '${keeper.url}`)
  expect(await readdir(join(cwd, 'mlartifacts/exp'))).toEqual([])
  expect(await kept()).toEqual([`third/${elsewhere?.path}/a.txt`])
  await post(server.url, '2.0/mlflow/runs/restore', { run_id: elsewhere?.runId })
})

test('gc through a named server sends it the operator’s credentials', async () => {
  const { cwd, uri } = await makeSite('named')
  let runId: string
  {
    await using server = await startMillrace({ cwd, backendStoreUri: uri, artifactsDestination: join(cwd, 'elsewhere') })
    const { experiment_id } = await post(server.url, '2.0/mlflow/experiments/create', { name: 'e' })
    const { run } = await post<{ run: { info: { run_id: string } } }>(server.url, '2.0/mlflow/runs/create', { experiment_id })
    runId = run.info.run_id
    await put(`${keeper.url}${ROUTE}/${experiment_id}`, `${runId}/artifacts`)
    await post(server.url, '2.0/mlflow/runs/delete', { run_id: runId })
  }
  const seen = new Set<string | undefined>()
  const relay = createServer(async (request, response) => {
    seen.add(request.headers.authorization)
    const answer = await fetch(`${keeper.url}${request.url}`, { method: request.method ?? 'GET' })
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
  })
  const port = await listenOnLoopback(relay)
  try {
    const env = { MLFLOW_TRACKING_TOKEN: 'secret', MLFLOW_TRACKING_URI: `http://127.0.0.1:${port}` }
    const { code, stdout } = await millrace(['gc', '--backend-store-uri', uri], { cwd, env })
    expect({ code, stdout }).toEqual({ code: 0, stdout: gone(runId) })
    expect([...seen]).toEqual(['Bearer secret'])
    expect((await kept()).filter(path => path.includes(runId))).toEqual([])
  } finally {
    relay.closeAllConnections()
    relay.close()
  }
})
