import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { filesBelow } from '../compat/deletion.ts'
import { createContainer, startAzurite } from '../services/azure.ts'
import { createBucket, describeWithServer } from '../services/backends.ts'
import { startTlsFtp } from '../services/ftp.ts'
import { createGcsBucket, startGcs } from '../services/gcs.ts'
import { httpClient } from '../services/http.ts'
import { startMillrace } from '../services/millrace.ts'
import { eventually, tempFolder } from '../services/process.ts'
import { startSshd } from '../services/sftp.ts'
import { createUpload } from '../services/uploads.ts'

const EXPIRY_MS = 2_000

interface Site extends AsyncDisposable {
  destination: string
  env: Record<string, string>
  /** Everything that the store itself knows to be there. */
  contents(): Promise<string[]>
}

async function testExpiry(name: string, open: () => Promise<Site>): Promise<void> {
  await describeWithServer(name, open, ({ destination, env, contents }) => {
    test('an upload that nobody goes on with is listed, and goes with its parts', async () => {
      await using folder = await tempFolder('expired')
      const cwd = folder.path
      const options = { cwd, backendStoreUri: `sqlite:///${cwd}/mlflow.db`, artifactsDestination: destination }
      {
        await using server = await startMillrace({ ...options, env })
        using client = httpClient(server.url)
        await client.send('PUT', '/api/2.0/mlflow-artifacts/artifacts/f/kept.bin', 'kept')
        const { credentials } = await createUpload(client, 'f', 'lost.bin', 2)
        const part = await fetch(credentials[0]?.url ?? '', { method: 'PUT', body: 'never joined' })
        expect(part.ok, await part.text()).toBe(true)
        expect((await contents()).length).toBeGreaterThan(1)
        const listed = { uri: 'mlflow-artifacts:/#f/lost.bin', state: 'OPEN', num_parts: 2 }
        expect(await client.ok('GET', '/api/3.0/millrace/multipart-uploads')).toMatchObject({ uploads: [listed] })
      }
      await sleep(EXPIRY_MS)
      await using server = await startMillrace({ ...options, env: { ...env, MILLRACE_MULTIPART_UPLOAD_EXPIRY: `${EXPIRY_MS / 1000}s` } })
      using client = httpClient(server.url)
      await eventually('only what was put is left', async () => ((await contents()).length === 1 ? true : undefined))
      expect((await contents())[0]).toMatch(/f\/kept\.bin$/)
      expect(await client.ok('GET', '/api/3.0/millrace/multipart-uploads')).toEqual({})
    })
  })
}

await testExpiry('S3', async () => {
  await using stack = new AsyncDisposableStack()
  const bucket = stack.use(await createBucket('expired'))
  const opened = stack.move()
  return {
    destination: `${bucket.uri}/root`,
    env: bucket.env,
    contents: async () => [...(await bucket.keys()), ...Array<string>(await bucket.openUploads()).fill('(open multipart upload)')],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
})

await testExpiry('Google Cloud Storage', async () => {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await startGcs())
  const bucket = await createGcsBucket(server)
  const opened = stack.move()
  const dispose = { [Symbol.asyncDispose]: () => opened.disposeAsync() }
  return { destination: `${bucket.uri}/root`, env: server.env, contents: () => bucket.names(''), ...dispose }
})

await testExpiry('Azure', async () => {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await startAzurite())
  const container = stack.use(await createContainer(server))
  const opened = stack.move()
  const dispose = { [Symbol.asyncDispose]: () => opened.disposeAsync() }
  const env = { AZURE_STORAGE_CONNECTION_STRING: server.connectionString }
  return { destination: `${container.uri}/root`, env, contents: () => container.everything(''), ...dispose }
})

await testExpiry('SFTP', async () => {
  const server = await startSshd()
  const { keyUrl, data, knownHostsFile, privateKeyFile } = server
  const env = { MILLRACE_SFTP_KNOWN_HOSTS: knownHostsFile, MILLRACE_SFTP_PRIVATE_KEY: privateKeyFile }
  const dispose = { [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  return { destination: `${keyUrl}${data}/root`, env, contents: () => filesBelow(data), ...dispose }
})

await testExpiry('FTP', async () => {
  const server = await startTlsFtp()
  const { url, folder, caFile = '' } = server
  const env = { MILLRACE_FTP_TLS: 'true', MILLRACE_FTP_CA_FILE: caFile }
  return { destination: `${url}/root`, env, contents: () => filesBelow(folder), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
})
