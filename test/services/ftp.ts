import { randomBytes } from 'node:crypto'
import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensurePackages, ftpVenv, which } from './install.ts'
import { freePort, type Killable, type Running, run, runOk, start, tempFolder } from './process.ts'
import { makeCertificates } from './tls.ts'

export interface FtpServer extends AsyncDisposable, Killable {
  readonly port: number
  readonly user: string
  readonly password: string
  /** `ftp://user:password@host:port`, for a folder that holds nothing. */
  readonly url: string
  /** What the server shows as its root. */
  readonly folder: string
  /** Of the authority that its certificate is by; undefined for a server without TLS. */
  readonly caFile: string | undefined
  /** Ends every session, as a restart does. */
  endSessions(): Promise<void>
}

export interface FtpOptions {
  passivePorts?: { first: number; last: number }
  /** Sessions beyond these are refused with 421; no bound when absent. */
  clientsMax?: number
}

const USER = 'artifacts'
const PASSWORD = 'p@ss/w:rd %25é'

/** vsftpd, as root. Its one user is known to nobody but PAM, which has a database of its own for it, and becomes `ftp` of the system. */
export async function startVsftpd({ passivePorts, clientsMax = 0 }: FtpOptions = {}): Promise<FtpServer> {
  if (process.getuid?.() !== 0) throw new Error('vsftpd: only root can start it')
  await ensurePackages(['vsftpd', 'db5.3-util'], () => which('vsftpd', '/usr/sbin') !== undefined && which('db5.3_load') !== undefined)
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('vsftpd')).path
  const data = join(folder, 'data')
  const service = `millrace-test-${randomBytes(6).toString('hex')}`
  const users = join(folder, 'users')
  await mkdir(data)
  await mkdir(join(folder, 'empty'))
  const [uid, gid] = await Promise.all(['-u', '-g'].map(async flag => Number(await runOk('id', [flag, 'ftp']))))
  await chown(data, uid ?? 0, gid ?? 0)
  await writeFile(users, `${USER}\n${PASSWORD}\n`)
  await runOk('db5.3_load', ['-T', '-t', 'hash', '-f', users, `${users}.db`])
  stack.defer(() => rm(join('/etc/pam.d', service), { force: true }))
  const database = `pam_userdb.so db=${users} crypt=none`
  const rules = `auth required ${database}\naccount required ${database}\nsession optional pam_permit.so\n`
  await writeFile(join('/etc/pam.d', service), rules)
  const port = await freePort()
  const settings = {
    listen: 'YES',
    listen_address: '127.0.0.1',
    listen_port: port,
    background: 'NO',
    anonymous_enable: 'NO',
    local_enable: 'YES',
    guest_enable: 'YES',
    guest_username: 'ftp',
    virtual_use_local_privs: 'YES',
    local_root: data,
    chroot_local_user: 'YES',
    allow_writeable_chroot: 'YES',
    write_enable: 'YES',
    utf8_filesystem: 'YES',
    delay_failed_login: 0,
    max_per_ip: 0,
    max_clients: clientsMax,
    pasv_address: '127.0.0.1',
    pasv_min_port: passivePorts?.first ?? 0,
    pasv_max_port: passivePorts?.last ?? 0,
    seccomp_sandbox: 'NO',
    secure_chroot_dir: join(folder, 'empty'),
    pam_service_name: service,
  }
  const config = join(folder, 'vsftpd.conf')
  await writeFile(
    config,
    Object.entries(settings).map(setting => `${setting.join('=')}\n`),
  )
  const begin = () => start({ command: '/usr/sbin/vsftpd', args: [config], cwd: folder, ready: () => greets(port) })
  return serving({ port, user: USER, password: PASSWORD, folder: data, caFile: undefined }, begin, stack.move())
}

/** pyftpdlib, which offers MLSD, over explicit TLS with an authority of its own. */
export async function startTlsFtp(): Promise<FtpServer> {
  const bin = await ftpVenv()
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('ftps')).path
  const data = join(folder, 'data')
  await mkdir(data)
  const { caFile, certFile, keyFile } = await makeCertificates(folder, 'ftp')
  const pem = join(folder, 'server-and-key.pem')
  await writeFile(pem, [await readFile(certFile), await readFile(keyFile)])
  const port = await freePort()
  const script = fileURLToPath(new URL('./ftp_server.py', import.meta.url))
  const args = ['-W', 'ignore', script, String(port), data, USER, PASSWORD, pem]
  const begin = () => start({ command: join(bin, 'python'), args, cwd: folder, ready: () => greets(port) })
  return serving({ port, user: USER, password: PASSWORD, folder: data, caFile }, begin, stack.move())
}

type About = Pick<FtpServer, 'port' | 'user' | 'password' | 'folder' | 'caFile'>

async function serving(about: About, begin: () => Promise<Running>, stack: AsyncDisposableStack): Promise<FtpServer> {
  try {
    let server = await begin()
    const kill = () => killWithSessions(server)
    stack.defer(kill)
    return {
      ...about,
      url: `ftp://${encodeURIComponent(about.user)}:${encodeURIComponent(about.password)}@127.0.0.1:${about.port}`,
      kill,
      async begin() {
        server = await begin()
      },
      async endSessions() {
        await kill()
        server = await begin()
      },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

/** vsftpd's sessions are process groups of their own, and outlive it. */
async function killWithSessions(server: Running): Promise<void> {
  const { stdout } = await run('pgrep', ['-P', String(server.pid)])
  await server.end('SIGKILL')
  for (const pid of stdout.split('\n').flatMap(line => Number(line) || [])) await run('kill', ['-KILL', '--', `-${pid}`])
}

/** Whether the server says that it is ready for a user. */
function greets(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = createConnection(port, '127.0.0.1')
    socket.setTimeout(2_000, () => socket.destroy())
    socket.once('data', greeting => {
      socket.end('QUIT\r\n')
      resolve(greeting.toString().startsWith('220'))
    })
    socket.on('error', () => resolve(false))
    socket.on('close', () => resolve(false))
  })
}
