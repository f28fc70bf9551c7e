import { readdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type Millrace, startTarget } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'

const UPLOADS = 40
const CLIENTS_GONE = 20
const ANSWER_MS = 1_000
const CREATE = '/api/2.0/mlflow-artifacts/mpu/create/d'

/** The id of an upload that was begun. */
async function create(url: string, name: string): Promise<string | undefined> {
  const body = JSON.stringify({ path: name, num_parts: 2 })
  const answer = await fetch(url + CREATE, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const { upload_id } = (await answer.json()) as { upload_id?: string }
  expect([200, 503, 504]).toContain(answer.status)
  return answer.ok ? upload_id : undefined
}

/** Asks for an upload and is gone before the answer. */
async function leave({ port }: Millrace, name: string): Promise<void> {
  const body = JSON.stringify({ path: name, num_parts: 2 })
  const head = `POST ${CREATE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(head + body)
  await sleep(Math.random() * 15)
  socket.destroy()
}

interface Site {
  readonly artifacts: Millrace
  readonly worker: Millrace
  readonly gateway: Millrace
  /** Starts the artifacts service anew where it was. */
  again(): Promise<void>
  folders(): Promise<string[]>
}

async function startSite(stack: AsyncDisposableStack): Promise<Site> {
  const { path: cwd } = stack.use(await tempFolder('refused-uploads'))
  const target = async (name: string, args: string[], port?: number) => stack.use(await startTarget(name, { cwd, args, port }))
  const store = ['--artifacts-destination', join(cwd, 'store')]
  const artifacts = await target('artifacts', store)
  const from = ['--artifacts-only', '--artifacts-url', artifacts.url]
  const worker = await target('gc-worker', [...from, '--control-store-uri', 'sqlite:///control.db'])
  const gateway = await target('gateway', [...from, '--jobs-url', worker.url])
  return {
    artifacts,
    worker,
    gateway,
    again: async () => void (await target('artifacts', store, artifacts.port)),
    folders: async () => (await readdir(join(cwd, 'store/.artifact.uploading.parts')).catch(() => [])).sort(),
  }
}

test('an upload whose record is refused, or whose client has gone, leaves no folder for its parts', async () => {
  await using stack = new AsyncDisposableStack()
  const { worker, gateway, folders } = await startSite(stack)
  const begun = [await create(gateway.url, 'first.bin')]
  const creating = Array.from({ length: UPLOADS }, async (_, i) => {
    await sleep(i * 10)
    begun.push(await create(gateway.url, `f${i}.bin`))
  })
  await sleep((UPLOADS * 10) / 2)
  await worker.process.end('SIGKILL')
  await Promise.all(creating)
  await Promise.all(Array.from({ length: CLIENTS_GONE }, (_, i) => leave(gateway, `gone${i}.bin`)))
  const expected = begun.filter(id => id !== undefined).sort()
  expect(expected.length).toBeLessThan(UPLOADS + 1)
  await expect.poll(folders).toEqual(expected)
})

test('an upload whose record is refused is aborted later when its store is away just then', async () => {
  await using stack = new AsyncDisposableStack()
  const { artifacts, worker, gateway, again, folders } = await startSite(stack)
  process.kill(worker.process.pid, 'SIGSTOP')
  const creating = create(gateway.url, 'a.bin')
  await expect.poll(folders).toHaveLength(1)
  // The folder is there before the gateway knows of the upload.
  await sleep(ANSWER_MS)
  await artifacts.process.end('SIGKILL')
  await worker.process.end('SIGKILL')
  expect(await creating).toBeUndefined()
  await again()
  await expect.poll(folders, { timeout: 60_000 }).toEqual([])
})
