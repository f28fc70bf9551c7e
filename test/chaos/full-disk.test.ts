import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { filesBelow } from '../compat/deletion.ts'
import { readTestConfig } from '../services/config.ts'
import { httpClient } from '../services/http.ts'
import { startMillrace } from '../services/millrace.ts'
import { run, runOk, tempFolder } from '../services/process.ts'

const route = '/api/2.0/mlflow-artifacts/artifacts'
const DISK_MIB = 4
const OLD = Buffer.alloc(1024 * 1024, 'old')
const TOO_BIG = Buffer.alloc((DISK_MIB + 2) * 1024 * 1024, 'new')

/** A disk of its own for `folder`; undefined where file systems can't be mounted, which fails on CI. */
async function mountDisk(folder: string): Promise<AsyncDisposable | undefined> {
  await mkdir(folder)
  const { code } = await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'millrace-test', folder])
  if (readTestConfig().ci) expect(code, 'a small file system can be mounted on CI').toBe(0)
  if (code !== 0) return undefined
  return {
    async [Symbol.asyncDispose]() {
      await runOk('umount', [folder])
    },
  }
}

test('a local disk that is full, or read-only, is told, leaves nothing, and is used again after', async context => {
  await using folder = await tempFolder('disk')
  const store = join(folder.path, 'artifacts')
  await using disk = await mountDisk(store)
  if (!disk) return context.skip('file systems cannot be mounted here')
  await using server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: store,
  })
  using client = httpClient(server.url)
  expect((await client.send('PUT', `${route}/d/old.bin`, OLD)).status).toBe(200)
  for (const path of ['d/new.bin', 'd/old.bin', 'e/f/new.bin']) {
    const full = await client.send('PUT', `${route}/${path}`, TOO_BIG)
    expect([full.status, full.json()], path).toMatchObject([
      503,
      { error_code: 'TEMPORARILY_UNAVAILABLE', message: 'The artifact store is full' },
    ])
    expect(full.text).not.toContain(store)
  }
  expect(await filesBelow(store)).toEqual(['d/old.bin'])
  expect((await client.send('GET', `${route}/d/old.bin`)).body.equals(OLD)).toBe(true)
  expect((await client.send('PUT', `${route}/d/new.bin`, OLD)).status).toBe(200)
  expect((await client.send('DELETE', `${route}/d/new.bin`)).status).toBe(200)

  await runOk('mount', ['-o', 'remount,ro', store])
  const refused = await client.send('PUT', `${route}/d/new.bin`, OLD)
  expect([refused.status, refused.json()]).toMatchObject([403, { error_code: 'PERMISSION_DENIED' }])
  expect((await client.send('GET', `${route}/d/old.bin`)).status).toBe(200)
  await runOk('mount', ['-o', 'remount,rw', store])
  expect((await client.send('PUT', `${route}/d/new.bin`, OLD)).status).toBe(200)
  expect(await filesBelow(store)).toEqual(['d/new.bin', 'd/old.bin'])
})

test('a tracking database without room refuses writes, is not ready, and is again when a write goes through', async context => {
  await using folder = await tempFolder('disk')
  const store = join(folder.path, 'database')
  await using disk = await mountDisk(store)
  if (!disk) return context.skip('file systems cannot be mounted here')
  await using server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${store}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
  })
  using client = httpClient(server.url)
  const { run } = await client.ok<{ run: { info: { run_id: string } } }>('POST', '/api/2.0/mlflow/runs/create', { experiment_id: '0' })
  const write = async () => {
    const body = { run_id: run.info.run_id, key: `p${Math.random()}`, value: 'v'.repeat(5000) }
    return (await client.send('POST', '/api/2.0/mlflow/runs/log-parameter', body)).status
  }
  const ready = async () => (await client.send('GET', '/ready')).status
  expect([await write(), await ready()]).toEqual([200, 200])
  await writeFile(join(store, 'filler'), Buffer.alloc(DISK_MIB * 1024 * 1024)).catch(() => {})
  let status = 200
  for (let i = 0; i < 2000 && status === 200; i++) status = await write()
  expect([status, await ready()]).toEqual([503, 503])
  await rm(join(store, 'filler'))
  expect([await write(), await ready()]).toEqual([200, 200])
})
