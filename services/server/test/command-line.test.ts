import { readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { repository } from '../../../test/services/config.ts'
import { millrace, startMillrace } from '../../../test/services/millrace.ts'
import { run, type TempFolder, tempFolder } from '../../../test/services/process.ts'

const EXIT_FAILED = 1
const EXIT_USAGE = 2
const BIN = join(repository, 'node_modules/.bin/millrace')

let folder: TempFolder
beforeAll(async () => {
  folder = await tempFolder('cli')
})
afterAll(() => folder[Symbol.asyncDispose]())

const SERVERS = "Cannot specify multiple server options. Choose one of: '--gunicorn-opts', '--waitress-opts', or '--uvicorn-opts'."
const ONLY =
  "You are starting a tracking server in `--artifacts-only` mode and have provided a value for `--backend_store_uri`: 'sqlite:///x.db'."

// The texts are those of `mlflow server` 3.17.2, where it has the option.
test.each([
  [['server', '--nope'], "No such option '--nope'."],
  [['nope'], "No such command 'nope'."],
  [['server', 'a', 'b'], 'Got unexpected extra arguments (a b)'],
  [['server', '--port'], "Option '--port' requires an argument."],
  [['server', '--serve-artifacts=1'], "Option '--serve-artifacts' does not take a value."],
  [['server', '--static-prefix', 'x'], "--static-prefix must begin with a '/'."],
  [['server', '--static-prefix', '/x/'], "--static-prefix should not end with a '/'."],
  [['server', '--static-prefix', '/{x'], "--static-prefix must not contain '{' or '}'."],
  [['server', '--gunicorn-opts', 'a', '--uvicorn-opts', 'b'], SERVERS],
  [['server', '--dev', '--gunicorn-opts', 'a'], "'--dev' and '--gunicorn-opts' cannot be specified together."],
  [['server', '--waitress-opts', 'a', '--allowed-hosts', 'b'], 'Security middleware parameters (--allowed-hosts, '],
  [['server', '--artifacts-only', '--backend-store-uri', 'sqlite:///x.db'], ONLY],
  [['--env-file', '/nowhere', 'server'], "Invalid value for '--env-file': Environment file '/nowhere' does not exist."],
  [['server', '--port', 'abc'], "Invalid value for --port: 'abc'. Allowed: a whole number from 0 to 65535."],
  [['server', '--backend-store-uri', 'mongodb://u:hidden@h/d'], 'Invalid value for --backend-store-uri: '],
  [['server', '--registry-store-uri', 'sqlite:///other.db'], 'Invalid value for --registry-store-uri: '],
  [['gateway'], '--metadata-url or MILLRACE_METADATA_URL is required.'],
  [['gateway', '--metadata-url', 'ftp://x'], "Invalid value for --metadata-url: 'ftp://x'. Allowed: http:// or https:// URLs."],
  [['gc-worker', '--metadata-url', 'http://x'], '--artifacts-url or MILLRACE_ARTIFACTS_URL is required.'],
])('%j is refused as wrong use', async (args, text) => {
  const { code, stdout, stderr } = await millrace(args, { cwd: folder.path })
  expect(stderr).toContain(`Error: ${text}`)
  expect(stderr).toMatch(/Usage: millrace.*\nTry 'millrace.* --help' for help\./)
  expect(stderr).not.toContain('hidden')
  expect([code, stdout]).toEqual([EXIT_USAGE, ''])
})

test('a variable that cannot be used is named', async () => {
  const { code, stderr } = await millrace(['server'], { cwd: folder.path, env: { MLFLOW_PORT: '70000' } })
  expect(stderr).toContain("Invalid value for MLFLOW_PORT: '70000'.")
  expect(code).toBe(EXIT_USAGE)
})

test('the help names every store that can be the artifacts destination', async () => {
  const destination = ['server', '--artifacts-destination', 'nope://x']
  const { stderr } = await millrace(destination, { cwd: folder.path })
  const { stdout } = await millrace(['server', '--help'], { cwd: folder.path })
  const known = stderr.slice(stderr.indexOf('Allowed:')).matchAll(/([a-z][a-z\d-]*):\/\//g)
  const names = [...new Set([...known].map(([, scheme]) => scheme ?? ''))]
  expect(names).toContain('sftp')
  const [, help = ''] = /--artifacts-destination <uri>(.*?)\(default/s.exec(stdout) ?? []
  expect(names.filter(name => !new RegExp(`\\b${name}\\b`).test(help))).toEqual([])
})

test('a start that fails says why in a line and exits 1', async () => {
  await writeFile(join(folder.path, 'text.db'), 'not a database, and long enough not to be taken for an empty one')
  const database = await millrace(['server', '--port', '0', '--backend-store-uri', 'sqlite:///text.db'], { cwd: folder.path })
  expect(database.code).toBe(EXIT_FAILED)
  expect(database.stderr).toMatch(/^Error: .*database/m)
  expect(database.stderr).not.toMatch(/\n\s+at /)

  const taken = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => taken.once('listening', resolve))
  const address = taken.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const second = await millrace(['artifacts', '--port', String(port)], { cwd: folder.path })
  taken.close()
  expect(second.code).toBe(EXIT_FAILED)
  expect(second.stderr).toContain('EADDRINUSE')
})

test('the command works through symlinks, from any folder, with no Node or an old one on the path', async () => {
  const link = join(folder.path, 'mr')
  await symlink(BIN, link)
  const bin = join(folder.path, 'bin')
  await run('mkdir', ['-p', bin])
  await writeFile(join(bin, 'node'), '#!/bin/sh\necho v20.0.0\n', { mode: 0o755 })
  for (const path of ['/usr/bin:/bin', `${bin}:/usr/bin:/bin`]) {
    const { code, stdout } = await run(link, ['--version'], { cwd: '/', env: { PATH: path } })
    expect([code, stdout]).toEqual([0, 'millrace, version 0.1.0\n'])
  }
})

test('options that mean nothing here are accepted with a note', async () => {
  await using server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: 'sqlite:///notes.db',
    artifactsDestination: 'artifacts',
    args: [
      '--workers',
      '8',
      '--uvicorn-opts',
      '--reload',
      '--expose-prometheus',
      './prometheus',
      '--registry-store-uri',
      'sqlite:///notes.db',
    ],
  })
  expect(server.process.log()).toContain('--workers is ignored')
  expect(server.process.log()).toContain('--uvicorn-opts is ignored')
  expect(server.process.log()).toContain('--expose-prometheus is ignored: /metrics is always there')
})

test.each([
  [undefined, 8],
  ['3', 3],
])('with UV_THREADPOOL_SIZE=%s, %d threads see to files', async (size, count) => {
  await using server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: 'sqlite:///threads.db',
    artifactsDestination: 'artifacts',
    env: { UV_THREADPOOL_SIZE: size },
  })
  const tasks = `/proc/${server.process.pid}/task`
  const names = await Promise.all((await readdir(tasks)).map(id => readFile(join(tasks, id, 'comm'), 'utf8')))
  expect(names.filter(name => name === 'libuv-worker\n')).toHaveLength(count)
})

test('a dotenv file gives variables, and the environment wins over it', async () => {
  const file = join(folder.path, 'settings.env')
  await writeFile(file, 'MLFLOW_PORT=90000\nMLFLOW_X_TEST=1\n')
  const fromFile = await millrace(['--env-file', file, 'server'], { cwd: folder.path, env: { MLFLOW_PORT: undefined } })
  expect(fromFile.stderr).toContain("Invalid value for MLFLOW_PORT: '90000'.")
  const fromBoth = await millrace(['--env-file', file, 'server'], { cwd: folder.path, env: { MLFLOW_PORT: '80000' } })
  expect(fromBoth.stderr).toContain("Invalid value for MLFLOW_PORT: '80000'.")
})

test('a second signal ends the process without waiting', async () => {
  await using server = await startMillrace({ cwd: folder.path, backendStoreUri: 'sqlite:///two.db', artifactsDestination: 'artifacts' })
  const upload = request(`${server.url}/api/2.0/mlflow-artifacts/artifacts/x.bin`, { method: 'PUT', headers: { 'content-length': 10 } })
  upload.on('error', () => undefined)
  upload.write('half')
  await sleep(300)
  const first = server.process.end('SIGTERM')
  await sleep(300)
  const begun = performance.now()
  expect(await server.process.end('SIGTERM')).toBe(143)
  expect(performance.now() - begun).toBeLessThan(2_000)
  await first
})
