import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { describeWithServer } from '../../../test/services/backends.ts'
import { type HdfsServer, startHdfs } from '../../../test/services/hdfs.ts'
import { tempFolder } from '../../../test/services/process.ts'
import { makeCertificates } from '../../../test/services/tls.ts'
import { startWebHdfsGateway } from '../../../test/services/webhdfs-gateway.ts'
import type { Harness } from '../src/conformance/harness.ts'
import { testArtifactDriver } from '../src/conformance/suite.ts'
import type { Driver, Scheme } from '../src/driver.ts'
import { checkHdfsConfig, readHdfsConfig } from '../src/drivers/hdfs/config.ts'
import { openHdfsScheme } from '../src/drivers/hdfs/scheme.ts'

type Env = Record<string, string>

function harness(server: HdfsServer, rootOf: (path: string) => string, env: Env): Harness {
  const schemes: Scheme[] = []
  const open = async (root: string, changes: Env = {}) => {
    const scheme = openHdfsScheme(checkHdfsConfig(readHdfsConfig({ HADOOP_USER_NAME: 'millrace', ...env, ...changes })))
    schemes.push(scheme)
    return scheme.open(root, { isTrusted: true })
  }
  const roots = new WeakMap<Driver, string>()
  let count = 0
  return {
    capabilities: { multipart: true, presign: false },
    async openEmpty() {
      const root = `/of ${env.MILLRACE_WEBHDFS_URL ? 'hdfs' : 'gateway'}/root+${count++}`
      const driver = await open(rootOf(root))
      roots.set(driver, root)
      return driver
    },
    failing: [
      { name: 'a closed port', open: () => open('webhdfs://127.0.0.1:1/x'), codes: ['TEMPORARILY_UNAVAILABLE'] },
      {
        name: 'a root that is too long',
        open: () => open(rootOf(`/${'x'.repeat(300)}`)),
        codes: ['INVALID_PARAMETER_VALUE'],
        calls: ['write'],
      },
      { name: 'a root with a colon', open: () => open(rootOf('/a:b')), codes: ['INVALID_PARAMETER_VALUE'], calls: ['write'] },
      {
        name: 'a folder of another user',
        open: () => open(rootOf('/closed')),
        codes: ['PERMISSION_DENIED'],
        calls: ['read', 'write', 'stat', 'list'],
      },
      {
        name: 'a user without a name that Hadoop takes',
        open: () => open(rootOf('/x'), { HADOOP_USER_NAME: 'no such user!' }),
        codes: ['INVALID_PARAMETER_VALUE', 'UNAUTHENTICATED'],
      },
    ],
    leftovers: driver => server.contents(roots.get(driver) ?? ''),
    async [Symbol.asyncDispose]() {
      for (const scheme of schemes) await scheme[Symbol.asyncDispose]()
    },
  }
}

async function startSite() {
  await using stack = new AsyncDisposableStack()
  const hdfs = stack.use(await startHdfs())
  await hdfs.command('mode /closed 700')
  const folder = stack.use(await tempFolder('gateway'))
  const { caFile, certFile, keyFile } = await makeCertificates(folder.path, 'gateway')
  const tls = { key: await readFile(keyFile, 'utf8'), cert: await readFile(certFile, 'utf8') }
  const gateway = stack.use(await startWebHdfsGateway(hdfs.nameNodes[0] ?? '', tls))
  const moved = stack.move()
  return { hdfs, gateway, caFile, [Symbol.asyncDispose]: () => moved.disposeAsync() }
}

await describeWithServer('hdfs', startSite, ({ hdfs, gateway, caFile }) => {
  const [nameNode = ''] = hdfs.nameNodes
  testArtifactDriver('hdfs', async () => harness(hdfs, path => `hdfs://${path}`, { MILLRACE_WEBHDFS_URL: nameNode }))
  testArtifactDriver('hdfs behind a gateway with TLS', async () =>
    harness(hdfs, path => `${gateway.url}${path}`, { MILLRACE_WEBHDFS_CA_BUNDLE: caFile }),
  )

  test('a certificate that nobody vouches for is refused', async () => {
    await using scheme = openHdfsScheme(checkHdfsConfig(readHdfsConfig({})))
    const driver = await scheme.open(`${gateway.url}/x`)
    await expect(driver.stat('x')).rejects.toMatchObject({
      errorCode: 'TEMPORARILY_UNAVAILABLE',
      rawMessage: expect.stringContaining('No trusted connection'),
    })
  })
})
