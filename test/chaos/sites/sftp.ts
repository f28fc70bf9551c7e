import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { filesBelow } from '../../compat/deletion.ts'
import { startSshd } from '../../services/sftp.ts'
import { startToxicProxy } from '../../services/toxic.ts'
import { DENIED, type Site, UNAUTHENTICATED } from './site.ts'

export async function openSftp(): Promise<Site> {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await startSshd())
  const proxy = stack.use(await startToxicProxy(server))
  const opened = stack.move()
  const knownHosts = join(server.folder, 'known_hosts_of_proxy')
  await writeFile(knownHosts, `[127.0.0.1]:${proxy.port} ${server.hostKey}\n`)
  const uri = (credentials: string) => `sftp://${credentials}@127.0.0.1:${proxy.port}${server.data}/root`
  const wrong = 'wrong-password-of-the-server'
  return {
    destination: uri(server.user),
    env: { MILLRACE_SFTP_KNOWN_HOSTS: knownHosts, MILLRACE_SFTP_PRIVATE_KEY: server.privateKeyFile },
    network: proxy,
    server,
    keepsHidden: true,
    contents: () => filesBelow(server.data),
    refusals: [
      {
        name: 'wrong password',
        destination: uri(`${server.user}:${wrong}`),
        env: { MILLRACE_SFTP_PRIVATE_KEY: '' },
        ...UNAUTHENTICATED,
        secrets: [wrong],
      },
      { name: 'unknown host key', env: { MILLRACE_SFTP_KNOWN_HOSTS: server.knownHostsFile }, ...DENIED, secrets: [] },
    ],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
