import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { describeWithServer } from '../../../test/services/backends.ts'
import { type HdfsServer, startHdfs } from '../../../test/services/hdfs.ts'
import { tempFolder } from '../../../test/services/process.ts'
import { startToxicProxy, type ToxicProxy } from '../../../test/services/toxic.ts'
import { bodyOf, digest, generated, text } from '../src/conformance/bodies.ts'
import { checkHdfsConfig, readHdfsConfig } from '../src/drivers/hdfs/config.ts'
import { openHdfsScheme } from '../src/drivers/hdfs/scheme.ts'

const BIG_BYTES = 24 * 1024 * 1024
const TIMEOUT_SECONDS = 2
const TIMEOUT_MS = TIMEOUT_SECONDS * 1_000

type Env = Record<string, string>

async function opened(root: string, env: Env) {
  const scheme = openHdfsScheme(checkHdfsConfig(readHdfsConfig({ HADOOP_USER_NAME: 'millrace', ...env })))
  return { driver: await scheme.open(root), [Symbol.asyncDispose]: () => scheme[Symbol.asyncDispose]() }
}

/** The body stops once at `at` bytes until `pause` resolves. */
function pausing(length: number, at: number, pause: () => Promise<unknown>): Readable {
  return Readable.from(
    (async function* () {
      yield* generated(at)
      await pause()
      yield* generated(length - at)
    })(),
    { objectMode: false },
  )
}

/** core-site.xml and hdfs-site.xml of a name service with two name nodes. */
async function confDir(folder: string, nameNodes: readonly string[]): Promise<string> {
  const path = join(folder, 'conf')
  await mkdir(path)
  const site = (properties: Env) => {
    const written = Object.entries(properties).map(([name, value]) => `<property><name>${name}</name><value>${value}</value></property>`)
    return `<?xml version="1.0"?>\n<!-- <property> -->\n<configuration>${written.join('\n')}</configuration>`
  }
  const [one = '', two = ''] = nameNodes.map(url => new URL(url).host)
  await writeFile(join(path, 'core-site.xml'), site({ 'fs.defaultFS': 'hdfs://Pond' }))
  await writeFile(
    join(path, 'hdfs-site.xml'),
    site({
      'dfs.nameservices': 'Pond',
      'dfs.ha.namenodes.Pond': 'nn1, nn2',
      'dfs.namenode.http-address.Pond.nn1': one,
      'dfs.namenode.http-address.Pond.nn2': two,
    }),
  )
  return path
}

await describeWithServer(
  'hdfs with two name nodes',
  () => startHdfs({ nameNodes: 2 }),
  server => {
    test('the active name node is found, and found again when another one is', async () => {
      await using folder = await tempFolder('hdfs-conf')
      const env = { HADOOP_CONF_DIR: await confDir(folder.path, server.nameNodes) }
      await using one = await opened('hdfs:///ha', env)
      await using other = await opened('hdfs://pond/ha', env)
      await one.driver.write('a/b', bodyOf('first'))
      expect(await text((await other.driver.read('a/b')).body)).toBe('first')
      await server.command('active 1')
      expect(await text((await other.driver.read('a/b')).body)).toBe('first')
      await one.driver.write('a/b', bodyOf('second'))
      await server.command('stop 0')
      await using late = await opened('hdfs:///ha', env)
      expect(await late.driver.stat('a/b')).toEqual({ isDir: false, sizeBytes: 6 })
      await late.driver.write('a/c', bodyOf('third'))
      expect(await server.contents('/ha')).toEqual(['/ha/a', '/ha/a/b', '/ha/a/c'])
    })

    test('a name node that goes down in the middle of an upload is an error, and the next upload goes to the other', {
      timeout: 60_000,
    }, async () => {
      await using store = await opened('hdfs:///over', { MILLRACE_WEBHDFS_URL: server.nameNodes.toReversed().join(',') })
      await server.command('start 0')
      const handOver = async () => {
        await server.command('active 0')
        await server.command('stop 1')
      }
      const body = pausing(BIG_BYTES, BIG_BYTES / 2, handOver)
      await expect(store.driver.write('x', body)).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
      await store.driver.write('x', generated(BIG_BYTES))
      expect((await digest((await store.driver.read('x')).body)).length).toBe(BIG_BYTES)
      expect(await server.contents('/over')).toEqual(['/over/x'])
    })
  },
)

interface Front extends AsyncDisposable {
  readonly url: string
  /** Between the server and the data node. */
  readonly network: ToxicProxy
  /** Operations whose next answer doesn't come back. */
  readonly lost: Set<string>
}

/** A name node whose redirections lead to the data node through a network that can be made bad. */
async function startFront(nameNode: string, dataPort: number): Promise<Front> {
  const lost = new Set<string>()
  const network = await startToxicProxy({ host: 'localhost', port: dataPort })
  const front = createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming
    const forwarded = request(`${nameNode}${url}`, { method, headers }, answer => {
      if (lost.delete(new URL(url ?? '', nameNode).searchParams.get('op') ?? '')) {
        answer.resume().once('end', () => outgoing.destroy())
        return
      }
      const location = answer.headers.location?.replace(/^http:\/\/[^/]+/, `http://127.0.0.1:${network.port}`)
      outgoing.writeHead(answer.statusCode ?? 500, { ...answer.headers, ...(location ? { location } : {}) })
      answer.pipe(outgoing)
    })
    forwarded.on('error', () => outgoing.destroy())
    incoming.pipe(forwarded)
  })
  await new Promise<void>(resolve => {
    front.listen(0, '127.0.0.1', resolve)
  })
  const address = front.address()
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    network,
    lost,
    async [Symbol.asyncDispose]() {
      front.closeAllConnections()
      front.close()
      await network[Symbol.asyncDispose]()
    },
  }
}

async function dataPortOf(nameNode: string): Promise<number> {
  const answer = await fetch(`${nameNode}/webhdfs/v1/x?op=CREATE&user.name=x`, { method: 'PUT', redirect: 'manual' })
  return Number(new URL(answer.headers.get('location') ?? '').port)
}

async function withFront(
  server: HdfsServer,
  root: string,
  action: (store: Awaited<ReturnType<typeof opened>>, network: ToxicProxy, lost: Set<string>) => Promise<void>,
) {
  const [nameNode = ''] = server.nameNodes
  await using front = await startFront(nameNode, await dataPortOf(nameNode))
  const env = { MILLRACE_WEBHDFS_URL: front.url, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: String(TIMEOUT_SECONDS) }
  await using store = await opened(`hdfs://${root}`, env)
  await action(store, front.network, front.lost)
}

await describeWithServer(
  'hdfs with one name node',
  () => startHdfs(),
  server => {
    const [nameNode = ''] = server.nameNodes

    test('a data node that stops answering is given up within the timeout, and nothing is left', () =>
      withFront(server, '/silent', async ({ driver }, network) => {
        await driver.write('kept', generated(BIG_BYTES))
        const begun = performance.now()
        const silence = () => network.set({ mode: 'silent' })
        await expect(driver.write('new/x', pausing(BIG_BYTES, BIG_BYTES / 2, silence))).rejects.toMatchObject({
          errorCode: 'DEADLINE_EXCEEDED',
        })
        await expect(driver.read('kept')).rejects.toMatchObject({ errorCode: 'DEADLINE_EXCEEDED' })
        expect(performance.now() - begun).toBeLessThan(4 * TIMEOUT_MS)
        await network.set({})
        const { body } = await driver.read('kept')
        for await (const _ of body.iterator({ destroyOnReturn: false })) break
        await silence()
        await expect(digest(body)).rejects.toMatchObject({ errorCode: 'DEADLINE_EXCEEDED' })
        await network.set({})
        expect((await digest((await driver.read('kept')).body)).length).toBe(BIG_BYTES)
        expect(await server.contents('/silent')).toEqual(['/silent/kept'])
      }))

    test('a body may pause for longer than a data node may be silent', () =>
      withFront(server, '/pause', async ({ driver }) => {
        const paused = (ms: number) => pausing(BIG_BYTES, BIG_BYTES / 2, () => sleep(ms))
        await driver.write('x', paused(TIMEOUT_MS + 1_000))
        expect(await digest((await driver.read('x')).body)).toEqual(await digest(paused(0)))
      }))

    test('a download whose data node drops the connection goes on where it was', () =>
      withFront(server, '/cut', async ({ driver }, network) => {
        await driver.write('x', generated(BIG_BYTES))
        await network.set({ cut: { direction: 'down', afterBytes: 3 * 1024 * 1024 } })
        const { body } = await driver.read('x')
        setTimeout(() => void network.set({}), 300)
        expect(await digest(body)).toEqual(await digest(generated(BIG_BYTES)))
      }))

    test('an upload whose data node drops the connection is an error, and leaves what was there', () =>
      withFront(server, '/broken', async ({ driver }, network) => {
        await driver.write('x', bodyOf('old'))
        await network.set({ cut: { direction: 'up', afterBytes: 3 * 1024 * 1024 } })
        await expect(driver.write('x', generated(BIG_BYTES))).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
        await network.set({ mode: 'refuse' })
        await expect(driver.write('x', bodyOf('new'))).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
        await expect(driver.read('x')).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
        await network.set({})
        expect(await text((await driver.read('x')).body)).toBe('old')
        expect(await server.contents('/broken')).toEqual(['/broken/x'])
      }))

    test('an answer that gets lost on its way costs nothing', () =>
      withFront(server, '/lost', async ({ driver }, _network, lost) => {
        await driver.write('x', bodyOf('old'))
        for (const op of ['CREATE', 'RENAME', 'GETFILESTATUS']) {
          lost.add(op)
          await driver.write('x', bodyOf(op))
          expect(lost.size).toBe(0)
          expect(await text((await driver.read('x')).body)).toBe(op)
        }
        lost.add('DELETE')
        await driver.remove('x')
        expect(await server.contents('/lost')).toEqual([])
      }))

    test('a cluster that doesn’t answer at all is given up within the timeout', async () => {
      const env = { MILLRACE_WEBHDFS_URL: nameNode, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: String(TIMEOUT_SECONDS) }
      await using store = await opened('hdfs:///frozen', env)
      await store.driver.write('x', bodyOf('1'))
      await server.freeze()
      try {
        const begun = performance.now()
        await expect(store.driver.stat('x')).rejects.toMatchObject({ errorCode: 'DEADLINE_EXCEEDED' })
        expect(performance.now() - begun).toBeLessThan(2 * TIMEOUT_MS)
      } finally {
        server.thaw()
      }
      expect(await store.driver.stat('x')).toEqual({ isDir: false, sizeBytes: 1 })
    })

    test('quotas and safe mode say what they are', async () => {
      await using store = await opened('hdfs:///', { MILLRACE_WEBHDFS_URL: nameNode })
      await server.command('mode /small 777')
      await server.command('quota /small 3 1000')
      const full = { errorCode: 'TEMPORARILY_UNAVAILABLE', rawMessage: expect.stringContaining('The artifact store is full') }
      await expect(store.driver.write('small/x', generated(BIG_BYTES))).rejects.toMatchObject(full)
      await expect(store.driver.write('small/a/b/c/x', bodyOf('1'))).rejects.toMatchObject(full)
      expect(await server.contents('/small')).toEqual([])
      expect(await store.driver.stat('small')).toEqual({ isDir: true, sizeBytes: 0 })
      await server.command('safemode on')
      const safe = { errorCode: 'TEMPORARILY_UNAVAILABLE', rawMessage: expect.stringContaining('safe mode') }
      await expect(store.driver.write('x', bodyOf('1'))).rejects.toMatchObject(safe)
      await server.command('safemode off')
      await store.driver.write('x', bodyOf('1'))
      await store.driver.remove('x')
    })

    test('a name node that goes away in the middle of an upload is an error; once it is back everything works', {
      timeout: 60_000,
    }, async () => {
      await using store = await opened('hdfs:///gone', { MILLRACE_WEBHDFS_URL: nameNode, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '10' })
      await store.driver.write('x', bodyOf('old'))
      const body = pausing(BIG_BYTES, BIG_BYTES / 2, () => server.command('stop 0'))
      await expect(store.driver.write('x', body)).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
      await expect(store.driver.stat('x')).rejects.toMatchObject({ errorCode: 'TEMPORARILY_UNAVAILABLE' })
      await server.command('start 0')
      expect(await text((await store.driver.read('x')).body)).toBe('old')
      const names = []
      for await (const { name } of store.driver.list('')) names.push(name)
      expect(names).toEqual(['x'])
    })
  },
)
