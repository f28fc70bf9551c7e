import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { filesBelow } from '../compat/deletion.ts'
import { describeWithServer } from '../services/backends.ts'
import { startVsftpd } from '../services/ftp.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type MillraceOptions, startMillrace } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'
import { type SftpServer, startSshd } from '../services/sftp.ts'

const base = '/api/2.0/mlflow-artifacts/artifacts'
const TIMEOUT_SECONDS = 4
const AT_ONCE = 24
const BODY = Buffer.alloc(512 * 1024, 'x')
/** Less than a call waits, longer than a server needs to count a session that ended. */
const MEANWHILE_MS = 1_500

type Store = Pick<MillraceOptions, 'artifactsDestination' | 'env'>

async function withStore(store: Store, action: (client: HttpClient) => Promise<void>): Promise<void> {
  await using folder = await tempFolder('throttling')
  const env = { ...store.env, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: String(TIMEOUT_SECONDS) }
  const options = { cwd: folder.path, backendStoreUri: `sqlite:///${folder.path}/mlflow.db`, ...store, env }
  await using server = await startMillrace(options)
  using client = httpClient(server.url)
  await action(client)
}

/** More callers than the store takes at once. */
async function expectAllServed(client: HttpClient, contents: () => Promise<string[]>): Promise<void> {
  const names = Array.from({ length: AT_ONCE }, (_, n) => `${base}/many/${n}.bin`)
  const put = await Promise.all(names.map(name => client.send('PUT', name, BODY)))
  expect(put.map(({ status }) => status)).toEqual(names.map(() => 200))
  const got = await Promise.all(names.map(name => client.send('GET', name)))
  expect(got.every(({ status, body }) => status === 200 && body.equals(BODY))).toBe(true)
  expect(await contents()).toHaveLength(AT_ONCE)
  expect((await client.send('DELETE', `${base}/many`)).status).toBe(200)
}

/** @param hold takes all that the store has, until what it returns is called. */
async function expectTold(store: Store, hold: () => Promise<() => void>, contents: () => Promise<string[]>): Promise<void> {
  await withStore(store, async client => expect((await client.send('PUT', `${base}/f/kept.bin`, BODY)).status).toBe(200))
  const release = await hold()
  await withStore(store, async client => {
    const everyCall = () => [
      client.send('PUT', `${base}/f/new.bin`, BODY),
      client.send('GET', `${base}/f/kept.bin`),
      client.send('GET', `${base}?path=f`),
      client.send('DELETE', `${base}/f/absent.bin`),
    ]
    for (const { status, text } of await Promise.all(everyCall())) {
      expect(status).toBe(503)
      expect(JSON.parse(text)).toMatchObject({ error_code: 'TEMPORARILY_UNAVAILABLE', message: expect.stringContaining('artifact store') })
    }
    expect(await contents()).toEqual(['root/f/kept.bin'])
    const waiting = everyCall()
    await sleep(MEANWHILE_MS)
    release()
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200, 200, 200])
  })
}

/** Connections that say nothing once they were greeted. */
async function connectTo(port: number, count: number): Promise<() => void> {
  const sockets: Socket[] = []
  while (sockets.length < count) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    const greeting = await Promise.race([once(socket, 'data'), once(socket, 'close')])
    if (/^(220|SSH-2)/.test(String(greeting[0]))) sockets.push(socket)
    else await sleep(100)
  }
  return () => {
    for (const socket of sockets) socket.destroy()
  }
}

const CLIENTS_MAX = 3

await describeWithServer(
  `FTP with ${CLIENTS_MAX} sessions`,
  () => startVsftpd({ clientsMax: CLIENTS_MAX }),
  ({ url, folder, port }) => {
    const store = { artifactsDestination: `${url}/root` }
    const contents = () => filesBelow(folder)

    test('callers share what there is, and none hears of a refused session', () =>
      withStore(store, client => expectAllServed(client, contents)))

    test('others hold all of them: calls wait, and are told in time', () => expectTold(store, () => connectTo(port, CLIENTS_MAX), contents))
  },
)

const sftpStore = (server: SftpServer): Store => ({
  artifactsDestination: `${server.keyUrl}${server.data}/root`,
  env: { MILLRACE_SFTP_KNOWN_HOSTS: server.knownHostsFile, MILLRACE_SFTP_PRIVATE_KEY: server.privateKeyFile },
})

await describeWithServer(
  'SFTP with one connection at its start (MaxStartups)',
  () => startSshd({ startupsMax: 1 }),
  server => {
    const contents = () => filesBelow(server.data)

    test('callers share what there is, and none hears of a dropped connection', () =>
      withStore(sftpStore(server), client => expectAllServed(client, contents)))

    test('somebody else is always at the start: calls wait, and are told in time', () =>
      expectTold(sftpStore(server), () => connectTo(server.port, 1), contents))
  },
)

await describeWithServer(
  'SFTP without sessions (MaxSessions)',
  () => startSshd({ refusesSessions: true }),
  server => {
    test('a server that gives connections no session is told, and used as soon as it does', () =>
      withStore(sftpStore(server), async client => {
        const refused = await client.send('PUT', `${base}/f/a.bin`, BODY)
        expect([refused.status, refused.json()]).toEqual([503, expect.objectContaining({ error_code: 'TEMPORARILY_UNAVAILABLE' })])
        await server.takeSessions()
        expect((await client.send('PUT', `${base}/f/a.bin`, BODY)).status).toBe(200)
        expect((await client.send('GET', `${base}/f/a.bin`)).body.equals(BODY)).toBe(true)
      }))
  },
)
