import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { dirname, join } from 'node:path'
import { cacheFolder } from './config.ts'
import { ensurePackages, which } from './install.ts'
import { freePort, runOk, start, tempFolder } from './process.ts'

const INSTALL_TIMEOUT_MS = 600_000
const KERBEROS_VERSION = '7.0.0'

export interface Kdc extends AsyncDisposable {
  readonly realm: string
  /** krb5.conf of the realm. */
  readonly configFile: string
  /** Keys of hdfs/localhost and HTTP/localhost. */
  readonly serviceKeytab: string
  /** Makes a ticket cache of a user, who is added; it ends after so many seconds. */
  ticketCache(user: string, seconds?: number): Promise<string>
}

/** MIT's key distribution centre with a realm of its own. */
export async function startKdc(): Promise<Kdc> {
  const programs = ['kadmin.local', 'krb5kdc', 'kdb5_util'].map(name => `/usr/sbin/${name}`)
  await ensurePackages(['krb5-kdc', 'krb5-admin-server', 'krb5-user'], () => programs.every(existsSync) && which('kinit') !== undefined)
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('kdc')).path
  const port = await freePort()
  const realm = 'MILLRACE.TEST'
  const path = (name: string) => join(folder, name)
  await writeFile(
    path('krb5.conf'),
    `[libdefaults]
 default_realm = ${realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 rdns = false
 dns_canonicalize_hostname = false
 udp_preference_limit = 1
[realms]
 ${realm} = {
  kdc = 127.0.0.1:${port}
 }
[domain_realm]
 localhost = ${realm}
`,
  )
  await writeFile(
    path('kdc.conf'),
    `[kdcdefaults]
 kdc_listen = 127.0.0.1:${port}
 kdc_tcp_listen = 127.0.0.1:${port}
[realms]
 ${realm} = {
  database_name = ${path('principal')}
  key_stash_file = ${path('stash')}
  max_life = 10h
 }
[logging]
 kdc = STDERR
`,
  )
  const env = { KRB5_CONFIG: path('krb5.conf'), KRB5_KDC_PROFILE: path('kdc.conf') }
  const admin = (query: string) => runOk('/usr/sbin/kadmin.local', ['-r', realm, '-q', query], { env })
  await runOk('/usr/sbin/kdb5_util', ['create', '-s', '-r', realm, '-P', 'of-the-tests'], { env })
  for (const service of ['hdfs/localhost', 'HTTP/localhost']) {
    await admin(`addprinc -randkey ${service}`)
    await admin(`ktadd -k ${path('services')} ${service}`)
  }
  stack.use(await start({ command: '/usr/sbin/krb5kdc', args: ['-n', '-r', realm], cwd: folder, env, ready: () => listens(port) }))
  const moved = stack.move()
  return {
    realm,
    configFile: env.KRB5_CONFIG,
    serviceKeytab: path('services'),
    async ticketCache(user, seconds = 3_600) {
      await admin(`addprinc -randkey ${user}`)
      await admin(`ktadd -k ${path(`${user}.keytab`)} ${user}`)
      const cache = path(`${user}.cache`)
      await runOk('kinit', ['-k', '-t', path(`${user}.keytab`), '-c', cache, '-l', `${seconds}s`, user], { env })
      return cache
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = createConnection(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** The npm package `kerberos`, built under .cache on first use: a server that needs it has it beside itself. */
export async function kerberosModule(): Promise<string> {
  const folder = join(cacheFolder, 'kerberos')
  const module = join(folder, 'node_modules/kerberos')
  if (existsSync(join(module, 'build/Release/kerberos.node'))) return module
  const present = () => existsSync('/usr/include/gssapi/gssapi.h') && ['g++', 'make', 'python3'].every(name => which(name))
  await ensurePackages(['libkrb5-dev', 'g++', 'make', 'python3'], present)
  const install = `npm install --prefix "$1" --no-audit --no-fund --ignore-scripts kerberos@${KERBEROS_VERSION}`
  // npm hands its own settings on to what it runs, `npm test` too, and this repository's is to run no scripts.
  const build = 'npm rebuild --prefix "$1" --ignore-scripts=false kerberos'
  const headers = [dirname(dirname(process.execPath)), '/usr'].find(root => existsSync(join(root, 'include/node/node_api.h')))
  await runOk('sh', ['-c', `mkdir -p "$1" && flock "$1.lock" sh -c '${install} && ${build}' sh "$1"`, 'sh', folder], {
    env: { npm_config_build_from_source: 'true', ...(headers && { npm_config_nodedir: headers }) },
    timeoutMs: INSTALL_TIMEOUT_MS,
  })
  return module
}
