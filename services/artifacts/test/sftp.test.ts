import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describeWithServer } from '../../../test/services/backends.ts'
import { type SftpServer, startSshd } from '../../../test/services/sftp.ts'
import type { Harness } from '../src/conformance/harness.ts'
import { testArtifactDriver } from '../src/conformance/suite.ts'
import type { Driver, Scheme } from '../src/driver.ts'
import { checkSftpConfig, readSftpConfig } from '../src/drivers/sftp/config.ts'
import { openSftpScheme } from '../src/drivers/sftp/scheme.ts'

type Env = Record<string, string>

function harness(server: SftpServer, base: string, env: Env): Harness {
  const schemes: Scheme[] = []
  const open = (root: string, changes: Env = {}) => {
    const settings = { MILLRACE_SFTP_KNOWN_HOSTS: server.knownHostsFile, ...env, ...changes }
    const scheme = openSftpScheme(checkSftpConfig(readSftpConfig(settings)))
    schemes.push(scheme)
    return Promise.resolve(scheme.open(root, { isTrusted: true }))
  }
  const shared = openSftpScheme(checkSftpConfig(readSftpConfig({ MILLRACE_SFTP_KNOWN_HOSTS: server.knownHostsFile, ...env })))
  schemes.push(shared)
  const roots = new WeakMap<Driver, string>()
  let count = 0
  return {
    capabilities: { multipart: true, presign: false },
    async openEmpty() {
      const root = join(server.data, `root ${count++}`)
      const driver = await shared.open(`${base}${root}`, { isTrusted: true })
      roots.set(driver, root)
      return driver
    },
    failing: [
      {
        name: 'a wrong password',
        open: () => open(`sftp://${server.user}:wrong-secret@127.0.0.1:${server.port}/x`, { MILLRACE_SFTP_PRIVATE_KEY: '' }),
        codes: ['UNAUTHENTICATED'],
      },
      {
        name: 'an unknown host key',
        open: () => open(`${base}/x`, { MILLRACE_SFTP_KNOWN_HOSTS: '/dev/null' }),
        codes: ['PERMISSION_DENIED'],
      },
      { name: 'a closed port', open: () => open('sftp://u:secret@127.0.0.1:1/x'), codes: ['TEMPORARILY_UNAVAILABLE'] },
      { name: 'a root that is too long', open: () => open(`${base}/${'x'.repeat(300)}`), codes: ['INVALID_PARAMETER_VALUE'] },
      { name: 'a folder of root', open: () => open(`${base}/root/x`), codes: ['PERMISSION_DENIED'], calls: ['read', 'write', 'stat'] },
      {
        name: 'a root that is a file',
        open: () => open(`${base}/dev/null`),
        codes: ['INVALID_PARAMETER_VALUE', 'RESOURCE_DOES_NOT_EXIST'],
        calls: ['read', 'write'],
      },
    ],
    leftovers: driver => readdir(roots.get(driver) ?? '', { recursive: true }).catch(() => []),
    async [Symbol.asyncDispose]() {
      for (const scheme of schemes) await scheme[Symbol.asyncDispose]()
    },
  }
}

await describeWithServer(
  'sshd',
  () => startSshd(),
  server => {
    testArtifactDriver('sftp with a password', async () => harness(server, server.url, {}))
    testArtifactDriver('sftp with a key', async () => harness(server, server.keyUrl, { MILLRACE_SFTP_PRIVATE_KEY: server.privateKeyFile }))
  },
)

await describeWithServer(
  'sshd without extensions',
  () => startSshd({ without: ['posix-rename', 'fsync', 'statvfs', 'limits'] }),
  server => {
    testArtifactDriver('sftp of version 3 alone', async () => harness(server, server.url, {}))
  },
)
