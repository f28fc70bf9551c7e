import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type AzureContainer, createContainer, startAzurite } from '../../../test/services/azure.ts'
import { describeWithServer } from '../../../test/services/backends.ts'
import { bodyOf, cutOff, digest, generated, text } from '../src/conformance/bodies.ts'
import type { Driver, Entry, Multipart, Presign } from '../src/driver.ts'
import { openAzureScheme } from '../src/drivers/azure/scheme.ts'
import { azureConfig } from './azure-server.ts'

const MIB = 1024 * 1024

interface Site {
  driver: Driver
  multipart: Multipart
  presign: Presign
  container: AzureContainer
}

await describeWithServer(
  'azurite',
  () => startAzurite(),
  server => {
    const { account, connectionString, endpoint } = server

    const withSite = async (action: (site: Site) => Promise<void>, env: Record<string, string> = {}) => {
      await using container = await createContainer(server)
      await using scheme = openAzureScheme(azureConfig({ AZURE_STORAGE_CONNECTION_STRING: connectionString, ...env }))
      const driver = await scheme.open(`${container.uri}/r`)
      const { multipart, presign } = driver
      if (!multipart || !presign) throw new Error('without multipart and presign')
      await action({ driver, multipart, presign, container })
    }

    const begin = async (multipart: Multipart, key: string, content: string) => {
      const { uploadId, parts } = await multipart.start(key, 1)
      const url = parts[0]?.url ?? ''
      const sent = await fetch(url, { method: 'PUT', body: content })
      expect(sent.status).toBe(201)
      return { uploadId, sent: [{ partNumber: 1, etag: '', url }] }
    }

    const all = async (entries: AsyncIterable<Entry>) => {
      const found: Entry[] = []
      for await (const entry of entries) found.push(entry)
      return found
    }

    const contentOf = async (driver: Driver, key: string) => text((await driver.read(key)).body)

    test('an aborted upload leaves the object of before alone, and can’t be completed any more', () =>
      withSite(async ({ driver, multipart }) => {
        await driver.write('k', bodyOf('before'))
        const { uploadId, sent } = await begin(multipart, 'k', 'after')
        await multipart.abort('k', uploadId)
        await multipart.abort('k', uploadId)
        await expect(multipart.complete('k', uploadId, sent)).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
        expect(await contentOf(driver, 'k')).toBe('before')
      }))

    test('aborting one of two uploads to a place spares the other', () =>
      withSite(async ({ driver, multipart, container }) => {
        const one = await begin(multipart, 'k', 'one')
        const two = await begin(multipart, 'k', 'two')
        await multipart.abort('k', one.uploadId)
        expect(await driver.stat('k')).toBeUndefined()
        await expect(multipart.complete('k', one.uploadId, one.sent)).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
        await multipart.complete('k', two.uploadId, two.sent)
        expect(await contentOf(driver, 'k')).toBe('two')
        await driver.remove('k')
        expect(await container.everything('')).toEqual([])
      }))

    test('of two uploads to a place the first completion wins, and can be repeated', () =>
      withSite(async ({ driver, multipart }) => {
        const one = await begin(multipart, 'k', 'one')
        const two = await begin(multipart, 'k', 'two')
        await Promise.all([1, 2, 3].map(() => multipart.complete('k', one.uploadId, one.sent)))
        await expect(multipart.complete('k', two.uploadId, two.sent)).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
        await multipart.complete('k', one.uploadId, one.sent)
        expect(await contentOf(driver, 'k')).toBe('one')
      }))

    test('removing a folder ends the uploads below it', () =>
      withSite(async ({ driver, multipart, container }) => {
        await driver.write('run/a', bodyOf('1'))
        const inside = await begin(multipart, 'run/big', 'x')
        const over = await begin(multipart, 'run/a', 'y')
        await driver.remove('run')
        expect(await container.everything('')).toEqual([])
        for (const [key, { uploadId, sent }] of Object.entries({ 'run/big': inside, 'run/a': over })) {
          await expect(multipart.complete(key, uploadId, sent)).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
        }
      }))

    test('a stream of unknown length that fails leaves no block', () =>
      withSite(async ({ driver, container }) => {
        await expect(driver.write('big', cutOff(30 * MIB))).rejects.toMatchObject({ errorCode: 'CANCELLED' })
        expect(await container.everything('')).toEqual([])
        await driver.write('big', bodyOf('before'))
        await expect(driver.write('big', cutOff(30 * MIB))).rejects.toMatchObject({ errorCode: 'CANCELLED' })
        expect(await contentOf(driver, 'big')).toBe('before')
      }))

    test('streams of known and unknown length arrive whole', () =>
      withSite(async ({ driver }) => {
        for (const size of [MIB, MIB + 1, 8 * MIB, 8 * MIB + 1, 40 * MIB]) {
          const expected = await digest(generated(size))
          for (const length of [size, undefined]) {
            await driver.write('s', generated(size), { length })
            expect(await digest((await driver.read('s')).body)).toEqual(expected)
          }
        }
      }))

    test('a body that is shorter or longer than announced is refused', () =>
      withSite(async ({ driver, container }) => {
        for (const length of [3 * MIB, 5 * MIB]) {
          await expect(driver.write('s', generated(4 * MIB), { length })).rejects.toMatchObject({ errorCode: 'CANCELLED' })
        }
        expect(await container.everything('')).toEqual([])
      }))

    test('a refusal comes before the body has been read', () =>
      withSite(async ({ container }) => {
        await using scheme = openAzureScheme(azureConfig({ AZURE_STORAGE_CONNECTION_STRING: connectionString }))
        const driver = await scheme.open(container.uri.replace('test-', 'none-'))
        let read = 0
        const endless = async function* () {
          for (; read < 4096; read++) yield randomBytes(64 * 1024)
          await sleep(60_000)
        }
        const body = Readable.from(endless(), { objectMode: false })
        const writing = driver.write('s', body, { length: 2 ** 32 })
        await expect(writing).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
        expect(read).toBeLessThan(4096)
        body.destroy()
      }))

    test('type and encoding are stored, also by a completion', () =>
      withSite(async ({ driver, multipart, container }) => {
        await driver.write('a.csv', bodyOf('1'), { contentType: 'text/csv', contentEncoding: 'gzip' })
        await driver.write('b.csv', generated(20 * MIB), { contentType: 'text/csv' })
        const { uploadId, sent } = await begin(multipart, 'c.png', 'x')
        await multipart.complete('c.png', uploadId, sent)
        const head = async (key: string) => (await server.call('HEAD', `${container.name}/r/${key}`)).headers
        expect(await head('a.csv')).toMatchObject({ 'content-type': 'text/csv', 'content-encoding': 'gzip' })
        expect(await head('b.csv')).toMatchObject({ 'content-type': 'text/csv' })
        expect(await head('c.png')).toMatchObject({ 'content-type': 'image/png' })
      }))

    test('blobs that only mark a folder are folders', () =>
      withSite(async ({ driver, container }) => {
        const marker = { 'x-ms-blob-type': 'BlockBlob', 'x-ms-meta-hdi_isfolder': 'true' }
        await server.call('PUT', `${container.name}/r/d`, marker)
        await server.call('PUT', `${container.name}/r/d/deeper`, marker)
        await driver.write('d/x', bodyOf('1'))
        expect(await driver.stat('d')).toEqual({ isDir: true, sizeBytes: 0 })
        expect(await all(driver.list(''))).toEqual([{ name: 'd', isDir: true, sizeBytes: 0 }])
        expect((await all(driver.list('d'))).map(({ name, isDir }) => [name, isDir])).toEqual([
          ['deeper', true],
          ['x', false],
        ])
        await expect(driver.read('d')).rejects.toMatchObject({ errorCode: 'INVALID_PARAMETER_VALUE' })
        await driver.remove('d')
        expect(await container.everything('')).toEqual([])
      }))

    test('the empty blob with which an upload is discarded is not to be seen', () =>
      withSite(async ({ driver, container, presign }) => {
        await server.call('PUT', `${container.name}/r/k`, { 'x-ms-blob-type': 'BlockBlob', 'x-ms-meta-millrace_discarded': '1' })
        expect(await driver.stat('k')).toBeUndefined()
        expect(await all(driver.list(''))).toEqual([])
        await expect(driver.read('k')).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
        await expect(presign.download('k', 60)).rejects.toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' })
        await driver.write('k', bodyOf('seen'))
        expect(await contentOf(driver, 'k')).toBe('seen')
      }))

    test('clients are handed the public endpoint', () =>
      withSite(
        async ({ driver, multipart, presign }) => {
          await driver.write('a b', bodyOf('1'))
          const urls = [
            (await presign.download('a b', 60)).url,
            (await presign.upload?.('a b', 60, 'text/plain'))?.url,
            (await multipart.start('a b', 2)).parts[1]?.url,
          ]
          for (const url of urls) expect(url).toMatch(/^https:\/\/files\.example\/x\/test-[0-9a-f]+\/r\/a%20b\?.*spr=https/)
        },
        { MILLRACE_AZURE_PUBLIC_ENDPOINT: 'https://files.example/x' },
      ))

    test('signed URLs end, and are for one object and one purpose', () =>
      withSite(async ({ driver, presign }) => {
        await driver.write('k', bodyOf('1'))
        await driver.write('l', bodyOf('2'))
        const { url } = await presign.download('k', 2)
        expect((await fetch(url)).status).toBe(200)
        expect((await fetch(url.replace('/r/k?', '/r/l?'))).status).toBe(403)
        const put = { method: 'PUT', body: 'x', headers: { 'x-ms-blob-type': 'BlockBlob' } }
        expect((await fetch(url, put)).status).toBe(403)
        const up = await presign.upload?.('m', 60, 'text/plain')
        expect((await fetch(up?.url ?? '')).status).toBe(403)
        await sleep(3_000)
        expect((await fetch(url)).status).toBe(403)
      }))

    test('a SAS token reads and writes, but signs nothing and is handed to nobody', async () => {
      await using container = await createContainer(server)
      const text = `AccountName=${account};SharedAccessSignature=${server.sasToken};BlobEndpoint=${endpoint}`
      await using scheme = openAzureScheme(azureConfig({ AZURE_STORAGE_CONNECTION_STRING: text }))
      const driver = await scheme.open(container.uri)
      await driver.write('a/k', bodyOf('1'))
      await driver.write('a/big', generated(20 * MIB))
      expect(await contentOf(driver, 'a/k')).toBe('1')
      await driver.remove('a')
      expect(await container.everything('')).toEqual([])
      expect([driver.multipart, driver.presign]).toEqual([undefined, undefined])
    })
  },
)
