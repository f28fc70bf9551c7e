import { afterAll, beforeAll, expect, test } from 'vitest'
import { createContainer, startAzurite } from '../services/azure.ts'
import { createBucket, describeWithServer } from '../services/backends.ts'
import { createGcsBucket, startGcs } from '../services/gcs.ts'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { freePort, type TempFolder, tempFolder } from '../services/process.ts'
import { startToxicProxy } from '../services/toxic.ts'

/** A store that clients reach at another address than the server does. */
interface Site extends AsyncDisposable {
  uri: string
  env: Record<string, string>
  publicHost: string
}

const api = '/api/2.0/mlflow'
const proxied = '/api/2.0/mlflow-artifacts'

interface Presigned {
  presigned_url: string
  headers?: Record<string, string>
  file_size?: number
}

async function testPresigned(name: string, open: () => Promise<Site>): Promise<void> {
  await describeWithServer(`${name}: presigned URLs`, open, site => {
    let folder: TempFolder
    let server: Millrace
    let client: HttpClient

    beforeAll(async () => {
      folder = await tempFolder('presigned')
      const cwd = folder.path
      const { uri, env } = site
      server = await startMillrace({ cwd, backendStoreUri: `sqlite:///${cwd}/m.db`, artifactsDestination: `${uri}/proxied`, env })
      client = httpClient(server.url)
    })
    afterAll(async () => {
      client?.[Symbol.dispose]()
      await server?.[Symbol.asyncDispose]()
      await folder?.[Symbol.asyncDispose]()
    })

    async function newRun(artifact_location?: string): Promise<string> {
      const experiment = { name: `at ${artifact_location}`, artifact_location }
      const { experiment_id } = await client.ok('POST', `${api}/experiments/create`, experiment)
      const { run } = await client.ok<{ run: { info: { run_id: string } } }>('POST', `${api}/runs/create`, { experiment_id })
      return run.info.run_id
    }

    const sign = (direction: 'upload' | 'download', about: object) =>
      client.ok<Presigned>('POST', `${api}/artifacts/presigned-${direction}-url`, about)

    test('a run at the store is written and read by its clients, where they reach it', async () => {
      const run_id = await newRun(`${site.uri}/experiment`)
      const path = 'd/sp ace é.json'
      const up = await sign('upload', { run_id, path, expiration: 60 })
      expect(new URL(up.presigned_url).host).toBe(site.publicHost)
      const put = await fetch(up.presigned_url, { method: 'PUT', headers: up.headers, body: '{"a":1}' })
      expect([200, 201], await put.text()).toContain(put.status)
      const { files } = await client.ok('GET', `${api}/artifacts/list?run_id=${run_id}&path=d`)
      expect(files).toEqual([{ path, is_dir: false, file_size: 7 }])
      const down = await sign('download', { run_id, path })
      expect([new URL(down.presigned_url).host, down.file_size]).toEqual([site.publicHost, 7])
      const got = await fetch(down.presigned_url, { headers: { ...down.headers, Range: 'bytes=1-3' } })
      expect([got.status, await got.text()]).toEqual([206, '"a"'])
    })

    test('what is not there, not direct or not allowed has no URL', async () => {
      const run_id = await newRun(`${site.uri}/refusing`)
      const ask = async (direction: 'upload' | 'download', about: object) => {
        const { status, text } = await client.send('POST', `${api}/artifacts/presigned-${direction}-url`, about)
        return [status, JSON.parse(text).error_code]
      }
      expect(await ask('download', { run_id, path: 'none' })).toEqual([404, 'RESOURCE_DOES_NOT_EXIST'])
      for (const direction of ['upload', 'download'] as const) {
        for (const refused of [{ path: '../x' }, { path: 'x', expiration: 0 }, { path: 'x', expiration: 604_801 }, {}]) {
          expect(await ask(direction, { run_id, ...refused })).toEqual([400, 'INVALID_PARAMETER_VALUE'])
        }
      }
      const own = await newRun()
      expect(await ask('upload', { run_id: own, path: 'x' })).toEqual([400, 'INVALID_PARAMETER_VALUE'])
    })

    test('a proxied artifact is downloaded from the store', async () => {
      await client.send('PUT', `${proxied}/artifacts/p/x.bin`, 'proxied')
      const { url, headers, file_size } = await client.ok<{ url: string; headers?: Record<string, string>; file_size: number }>(
        'GET',
        `${proxied}/presigned/p/x.bin`,
      )
      expect([new URL(url).host, file_size]).toEqual([site.publicHost, 7])
      expect(await (await fetch(url, { headers })).text()).toBe('proxied')
      for (const [path, status] of [
        ['p/none', 404],
        ['p', 404],
        ['..', 400],
      ]) {
        expect((await client.send('GET', `${proxied}/presigned/${path}`)).status, String(path)).toBe(status)
      }
    })
  })
}

const hostOf = ({ port }: { port: number }) => `127.0.0.1:${port}`
const portOf = (url: string) => Number(new URL(url).port)

await testPresigned('S3', async () => {
  await using stack = new AsyncDisposableStack()
  const { uri, env } = stack.use(await createBucket('presigned'))
  const publicHost = hostOf(stack.use(await startToxicProxy({ port: portOf(env.MLFLOW_S3_ENDPOINT_URL ?? '') })))
  const opened = stack.move()
  const dispose = { [Symbol.asyncDispose]: () => opened.disposeAsync() }
  return { uri, env: { ...env, MILLRACE_S3_PUBLIC_ENDPOINT: `http://${publicHost}` }, publicHost, ...dispose }
})

await testPresigned('Google Cloud Storage', async () => {
  await using stack = new AsyncDisposableStack()
  const port = await freePort()
  const publicHost = hostOf(stack.use(await startToxicProxy({ port })))
  const server = stack.use(await startGcs({ port, signedFor: publicHost }))
  const { uri } = await createGcsBucket(server)
  const opened = stack.move()
  const dispose = { [Symbol.asyncDispose]: () => opened.disposeAsync() }
  return { uri, env: { ...server.env, MILLRACE_GCS_PUBLIC_ENDPOINT: `http://${publicHost}` }, publicHost, ...dispose }
})

await testPresigned('Azure', async () => {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await startAzurite())
  const { uri } = stack.use(await createContainer(server))
  const publicHost = hostOf(stack.use(await startToxicProxy({ port: portOf(server.endpoint) })))
  const opened = stack.move()
  const dispose = { [Symbol.asyncDispose]: () => opened.disposeAsync() }
  const endpoint = { MILLRACE_AZURE_PUBLIC_ENDPOINT: `http://${publicHost}/${server.account}` }
  return { uri, env: { AZURE_STORAGE_CONNECTION_STRING: server.connectionString, ...endpoint }, publicHost, ...dispose }
})
