import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { filesBelow } from '../compat/deletion.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { millrace, startMillrace } from '../services/millrace.ts'
import { eventually, tempFolder } from '../services/process.ts'
import { createUpload, type SentPart, sendPart } from '../services/uploads.ts'

const api = '/api/2.0/mlflow-artifacts'
const PART_BYTES = 64 * 1024 * 1024
const RECOVERY_TIMEOUT_MS = 90_000

/** Two all-in-one servers on the same databases and artifacts. */
async function openTwo() {
  await using stack = new AsyncDisposableStack()
  const cwd = stack.use(await tempFolder('shared')).path
  const options = { cwd, backendStoreUri: 'sqlite:///mlflow.db', artifactsDestination: 'artifacts' }
  const [one, two] = await Promise.all([startMillrace(options), startMillrace(options)])
  for (const server of [one, two]) stack.use(server)
  const [first, second] = [stack.use(httpClient(one.url)), stack.use(httpClient(two.url))]
  const opened = stack.move()
  return { cwd, one, first, second, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

/** Completes through one server what was begun and sent through others. */
async function upload(clients: HttpClient[], path: string): Promise<number> {
  const at = (i: number) => clients[i % clients.length] as HttpClient
  const { upload_id, credentials } = await createUpload(at(0), 'dir', path, 2)
  const parts: SentPart[] = []
  for (const [i, { url }] of credentials.entries()) parts.push(await sendPart(at(i + 1), url, Buffer.from(`${path}${i}`), i + 1))
  return (await at(1).send('POST', `${api}/mpu/complete/dir`, { path, upload_id, parts })).status
}

test('servers that share a SQLite control database take each other’s uploads', async () => {
  await using world = await openTwo()
  const { first, second } = world
  const paths = Array.from({ length: 40 }, (_, i) => `${i}.bin`)
  const answers = await Promise.all(paths.map((path, i) => upload(i % 2 ? [first, second] : [second, first], path)))
  expect(answers).toEqual(paths.map(() => 200))
  for (const path of paths) expect((await second.send('GET', `${api}/artifacts/dir/${path}`)).text).toBe(`${path}0${path}1`)
  await createUpload(first, 'dir', 'open.bin', 1)
  for (const client of [first, second]) {
    expect(await client.ok('GET', '/api/3.0/millrace/multipart-uploads')).toMatchObject({
      uploads: [{ uri: 'mlflow-artifacts:/#dir/open.bin', state: 'OPEN' }],
    })
  }
})

test('a completion goes on in the other server after kill -9', async () => {
  await using world = await openTwo()
  const { cwd, one, first, second } = world
  const content = Array.from({ length: 3 }, () => randomBytes(PART_BYTES))
  const { upload_id, credentials } = await createUpload(first, 'dir', 'big.bin', content.length)
  const parts: SentPart[] = []
  for (const [i, { url }] of credentials.entries()) parts.push(await sendPart(first, url, content[i] as Buffer, i + 1))
  const request = { path: 'big.bin', upload_id, parts }
  const completing = first.send('POST', `${api}/mpu/complete/dir`, request).catch(() => undefined)
  const joining = async () => ((await filesBelow(join(cwd, 'artifacts/dir'))).length > 0 ? true : undefined)
  await eventually('the parts are being joined', joining)
  await one.process.end('SIGKILL')
  await completing
  expect(await filesBelow(join(cwd, 'artifacts/dir')), 'killed before the end').not.toContain('big.bin')
  // Some request has to wake the other server's worker: an idle one looks once a minute.
  const again = async () => {
    const answer = await second.send('POST', `${api}/mpu/complete/dir`, request).catch(() => undefined)
    return answer?.status === 200 ? true : undefined
  }
  await eventually('the other server has joined the parts', again, RECOVERY_TIMEOUT_MS)
  const { body } = await second.send('GET', `${api}/artifacts/dir/big.bin`)
  expect(createHash('sha256').update(body).digest('hex')).toBe(createHash('sha256').update(Buffer.concat(content)).digest('hex'))
})

test('millrace gc works on the databases of a running server', async () => {
  await using folder = await tempFolder('shared')
  const cwd = folder.path
  await using server = await startMillrace({ cwd, backendStoreUri: 'sqlite:///mlflow.db', artifactsDestination: 'artifacts' })
  using client = httpClient(server.url)
  await createUpload(client, 'dir', 'open.bin', 1)
  const { run } = await client.ok<{ run: { info: { run_id: string } } }>('POST', '/api/2.0/mlflow/runs/create', { experiment_id: '0' })
  await client.ok('POST', '/api/2.0/mlflow/runs/delete', { run_id: run.info.run_id })
  const options = ['--backend-store-uri', 'sqlite:///mlflow.db', '--artifacts-destination', 'artifacts']
  expect(await millrace(['gc', ...options], { cwd })).toEqual({
    code: 0,
    stdout: `Run with ID ${run.info.run_id} has been permanently deleted.\n`,
    stderr: '',
  })
})
