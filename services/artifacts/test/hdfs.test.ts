import { describeWithServer } from '../../../test/services/backends.ts'
import { type HdfsServer, startHdfs } from '../../../test/services/hdfs.ts'
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
    capabilities: { multipart: false, presign: false },
    async openEmpty() {
      const root = `/of ${env.MILLRACE_WEBHDFS_URL ? 'hdfs' : 'webhdfs'}/root+${count++}`
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

await describeWithServer(
  'hdfs',
  async () => {
    const server = await startHdfs()
    await server.command('mode /closed 700')
    return server
  },
  server => {
    const [nameNode = ''] = server.nameNodes
    const { host } = new URL(nameNode)
    testArtifactDriver('webhdfs', async () => harness(server, path => `webhdfs://${host}${path}`, {}))
    testArtifactDriver('hdfs', async () => harness(server, path => `hdfs://${path}`, { MILLRACE_WEBHDFS_URL: nameNode }))
  },
)
