import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { describeWithServer } from '../services/backends.ts'
import { mlflowVenv } from '../services/install.ts'
import { startSshd } from '../services/sftp.ts'
import { filesBelow } from './deletion.ts'
import { storeSession } from './store-session.ts'

const SESSION_TIMEOUT_MS = 480_000

beforeAll(async () => {
  await mlflowVenv()
})

await describeWithServer(
  'sshd',
  () => startSshd(),
  server => {
    const env = { MILLRACE_SFTP_KNOWN_HOSTS: server.knownHostsFile }

    test('the Python client with SFTP and a password behind the server', { timeout: SESSION_TIMEOUT_MS }, async () => {
      await storeSession('sftp', { destination: `${server.url}${server.data}/by password`, env })
      expect(await filesBelow(server.data)).toEqual([])
    })

    test('the Python client with SFTP, its host, user and key from the ssh configuration', { timeout: SESSION_TIMEOUT_MS }, async () => {
      const { port, user, privateKeyFile, data } = server
      const config = join(server.folder, 'ssh_config')
      const settings = { HostName: '127.0.0.1', Port: port, User: user, IdentityFile: privateKeyFile }
      await writeFile(config, ['Host store', ...Object.entries(settings).map(setting => `  ${setting.join(' ')}`)].join('\n'))
      await storeSession('sftp', { destination: `sftp://store${data}/by-key`, env: { ...env, MILLRACE_SFTP_CONFIG: config } })
      expect(await filesBelow(server.data)).toEqual([])
    })
  },
)
