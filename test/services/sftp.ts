import { randomBytes } from 'node:crypto'
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { ensurePackages, which } from './install.ts'
import { eventually, freePort, type Killable, run, runOk, start, tempFolder } from './process.ts'

export interface SftpServer extends AsyncDisposable, Killable {
  readonly port: number
  /** An account of the system, made for this server and removed with it. */
  readonly user: string
  readonly password: string
  /** Temporary folder with what tests add; the account owns `data` in it. */
  readonly folder: string
  readonly data: string
  readonly privateKeyFile: string
  /** The same key, encrypted with `password`; its public half is beside it. */
  readonly encryptedKeyFile: string
  /** Holds the server's key. */
  readonly knownHostsFile: string
  /** The server's public key: type and base64. */
  readonly hostKey: string
  /** `sftp://user:password@127.0.0.1:port` */
  readonly url: string
  /** Without the password. */
  readonly keyUrl: string
  /** Processes of the sessions that are open. */
  sessions(): Promise<number[]>
  /** Kills the processes of every open session. */
  killSessions(): Promise<void>
  /** Restarts the server with sessions for everybody. */
  takeSessions(): Promise<void>
  stop(): Promise<void>
  restart(): Promise<void>
}

export interface SftpServerOptions {
  /** Requests that the server refuses and doesn't offer: `posix-rename`, `fsync`, … */
  without?: string[]
  /** Connections at their start beyond which more are dropped. */
  startupsMax?: number
  /** The only ones that the server has; those of a connection are renewed after each MiB. */
  ciphers?: string
  /** Whether a connection gets no session: MaxSessions 0, until `takeSessions`. */
  refusesSessions?: boolean
}

const ACCOUNT_DAYS = 1
const SESSIONS_MAX = 10

/** OpenSSH's server on a port of its own, with keys and an account of its own. */
export async function startSshd({ without = [], startupsMax = 50, ciphers, refusesSessions }: SftpServerOptions = {}): Promise<SftpServer> {
  if (process.getuid?.() !== 0) throw new Error('sshd: only root can start it')
  await ensurePackages(['openssh-server'], () => which('sshd', '/usr/sbin') !== undefined)
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('sshd')).path
  // Where the package has its server chroot before a login; it is made at boot otherwise.
  await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
  const user = `mlr${randomBytes(5).toString('hex')}`
  const password = `p${randomBytes(9).toString('hex')}%/é`
  const data = join(folder, 'data')
  await addAccount(user, password, folder)
  stack.defer(async () => {
    await run('userdel', [user])
  })
  const [uid = 0, gid = 0] = await Promise.all(['-u', '-g'].map(async flag => Number(await runOk('id', [flag, user]))))
  await mkdir(data)
  await chown(data, uid, gid)
  const path = (name: string) => join(folder, name)
  await runOk('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path('host_key')])
  await runOk('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path('user_key')])
  await writeFile(path('encrypted_key'), await readFile(path('user_key')), { mode: 0o600 })
  await runOk('ssh-keygen', ['-q', '-p', '-P', '', '-N', password, '-f', path('encrypted_key')])
  await writeFile(path('encrypted_key.pub'), await readFile(path('user_key.pub')))
  await writeFile(path('authorized_keys'), await readFile(path('user_key.pub')))
  const port = await freePort()
  const [type, key] = (await readFile(path('host_key.pub'), 'utf8')).split(' ')
  const hostKey = `${type} ${key?.trim()}`
  await writeFile(path('known_hosts'), `[127.0.0.1]:${port} ${hostKey}\n`)
  const internal = ['internal-sftp', ...(without.length > 0 ? ['-P', without.join(',')] : [])].join(' ')
  const configure = (sessionsMax: number) =>
    writeFile(
      path('sshd_config'),
      `Port ${port}
ListenAddress 127.0.0.1
HostKey ${path('host_key')}
PidFile ${path('pid')}
AuthorizedKeysFile ${path('authorized_keys')}
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication yes
KbdInteractiveAuthentication no
AllowUsers ${user}
MaxStartups ${startupsMax}
MaxSessions ${sessionsMax}
Subsystem sftp ${internal}
ForceCommand ${internal}
${ciphers === undefined ? '' : `Ciphers ${ciphers}\nRekeyLimit 1M`}
`,
    )
  await configure(refusesSessions ? 0 : SESSIONS_MAX)
  const args = ['-D', '-f', path('sshd_config'), '-E', path('sshd.log')]
  const begin = () => start({ command: '/usr/sbin/sshd', args, cwd: folder, ready: () => greets(port) })
  let server = await begin()
  const moved = stack.move()
  const sessions = async () => {
    const { stdout } = await run('pgrep', ['-u', user])
    return stdout.split('\n').flatMap(line => Number(line) || [])
  }
  const killSessions = async () => {
    for (const pid of await sessions()) await run('kill', ['-KILL', String(pid)])
  }
  return {
    port,
    user,
    password,
    folder,
    data,
    privateKeyFile: path('user_key'),
    encryptedKeyFile: path('encrypted_key'),
    knownHostsFile: path('known_hosts'),
    hostKey,
    url: `sftp://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}`,
    keyUrl: `sftp://${user}@127.0.0.1:${port}`,
    sessions,
    killSessions,
    async takeSessions() {
      await configure(SESSIONS_MAX)
      await server.end('SIGTERM')
      server = await begin()
    },
    async kill() {
      await server.end('SIGKILL')
      await killSessions()
    },
    async begin() {
      server = await begin()
    },
    async stop() {
      await server.end('SIGTERM')
      await killSessions()
    },
    async restart() {
      await server.end('SIGTERM')
      server = await begin()
    },
    async [Symbol.asyncDispose]() {
      await server.end('SIGKILL')
      await killSessions()
      await eventually('the sessions end', async () => ((await sessions()).length === 0 ? true : undefined))
      await moved.disposeAsync()
    },
  }
}

/** It expires by itself, in case nobody is left to remove it. */
async function addAccount(user: string, password: string, home: string): Promise<void> {
  const expires = new Date(Date.now() + (ACCOUNT_DAYS + 1) * 86_400_000).toISOString().slice(0, 10)
  await runOk('useradd', ['--no-create-home', '--home-dir', home, '--shell', '/bin/sh', '--expiredate', expires, user])
  const hash = (await runOk('openssl', ['passwd', '-6', password])).trim()
  await runOk('usermod', ['--password', hash, user])
}

function greets(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = createConnection(port, '127.0.0.1')
    socket.setTimeout(2_000, () => socket.destroy())
    socket.once('data', greeting => {
      socket.destroy()
      resolve(greeting.toString().startsWith('SSH-2.0'))
    })
    socket.on('error', () => resolve(false))
    socket.on('close', () => resolve(false))
  })
}
