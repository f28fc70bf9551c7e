import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import type { SftpConfig } from './config.ts'
import { unauthenticated } from './errors.ts'
import { type KnownHost, parseKnownHosts } from './known-hosts.ts'
import type { Endpoint } from './location.ts'
import { type HostSettings, readHostSettings } from './ssh-config.ts'

/** Whom to connect to, and what with: a URI and the ssh configuration together. */
export interface Target {
  hostname: string
  port: number
  user: string
  passwords: readonly string[]
  /** Named by the configuration; undefined when the usual ones are meant. */
  identityFiles?: readonly string[]
  agentSocket?: string
  /** Whether only those keys of the agent are used whose files are named, or else the usual ones. */
  identitiesOnly: boolean
  /** Name that the host has in known_hosts files. */
  hostKeyName: string
  knownHosts: readonly KnownHost[]
}

const GLOBAL_KNOWN_HOSTS = '/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2'
const USER_KNOWN_HOSTS = '~/.ssh/known_hosts ~/.ssh/known_hosts2'

/**
 * Reads the ssh configuration and the known_hosts files anew, so that changes hold without a restart. A URI's user and port go before the
 * configuration's, which is also MLflow's rule.
 * @throws INVALID_PARAMETER_VALUE for a host that is only reached through another one.
 */
export async function resolveTarget(endpoint: Endpoint, config: SftpConfig): Promise<Target> {
  const { homeFolder, localUser } = config
  const { host } = endpoint
  const file = config.sshConfigFile ?? (homeFolder && join(homeFolder, '.ssh/config'))
  const settings: HostSettings = file
    ? await readHostSettings(file, { host, user: endpoint.user, localUser, homeFolder })
    : new Map<string, string[][]>()
  const first = (keyword: string) => settings.get(keyword)?.[0]?.[0]
  refuseProxies(settings, host)
  const user = endpoint.user ?? first('user') ?? localUser
  if (!user) throw unauthenticated(`Neither the artifact location nor the ssh configuration names a user for host '${host}'`)
  const port = endpoint.port ?? portOf(first('port'), host)
  const hostname = first('hostname')?.replaceAll('%h', host) ?? host
  const path = (written: string) => expandPath(written, { homeFolder, localUser, host, hostname, user, port })
  const files = (keyword: string, usual: string) => (settings.get(keyword)?.[0] ?? usual.split(' ')).flatMap(written => path(written) ?? [])
  const known = config.knownHostsFile
    ? [config.knownHostsFile]
    : [...files('userknownhostsfile', USER_KNOWN_HOSTS), ...files('globalknownhostsfile', GLOBAL_KNOWN_HOSTS)]
  return {
    hostname,
    port,
    user,
    passwords: [...endpoint.passwords, ...(config.password === undefined ? [] : [config.password])],
    identityFiles: settings.get('identityfile')?.flatMap(([written = 'none']) => (written === 'none' ? [] : (path(written) ?? []))),
    agentSocket: agentSocket(first('identityagent'), config.agentSocket, path),
    identitiesOnly: first('identitiesonly')?.toLowerCase() === 'yes',
    hostKeyName: first('hostkeyalias') ?? hostname,
    knownHosts: (await Promise.all(known.map(readKnownHosts))).flat(),
  }
}

function refuseProxies(settings: HostSettings, host: string): void {
  for (const [keyword, name] of [
    ['proxyjump', 'ProxyJump'],
    ['proxycommand', 'ProxyCommand'],
  ] as const) {
    const value = settings.get(keyword)?.[0]?.[0]
    if (value === undefined || value.toLowerCase() === 'none') continue
    throw invalidParameter(
      `The ssh configuration reaches host '${host}' by ${name}, which artifact locations don't support: the server connects to it directly`,
    )
  }
}

function portOf(written: string | undefined, host: string): number {
  const port = Number(written ?? 22)
  if (!(Number.isInteger(port) && port > 0 && port < 65_536))
    throw invalidParameter(`The ssh configuration has no valid port for host '${host}'`)
  return port
}

interface Tokens {
  homeFolder?: string
  localUser?: string
  host: string
  hostname: string
  user: string
  port: number
}

/** Tokens of ssh_config(5). Undefined for a path below a home folder that isn't known. */
function expandPath(written: string, { homeFolder, localUser = '', host, hostname, user, port }: Tokens): string | undefined {
  if (!homeFolder && /^~\/|%d/.test(written)) return undefined
  const values: Record<string, string> = { '%': '%', d: homeFolder ?? '', h: hostname, n: host, p: String(port), r: user, u: localUser }
  return written.replace(/^~(?=\/)/, homeFolder ?? '').replace(/%(.)/g, (token, name: string) => values[name] ?? token)
}

function agentSocket(
  identityAgent: string | undefined,
  given: string | undefined,
  path: (written: string) => string | undefined,
): string | undefined {
  if (identityAgent?.toLowerCase() === 'none') return undefined
  return identityAgent === undefined || identityAgent === 'SSH_AUTH_SOCK' || identityAgent === '$SSH_AUTH_SOCK'
    ? given
    : path(identityAgent)
}

/** A file that isn't there knows no hosts. */
async function readKnownHosts(path: string): Promise<KnownHost[]> {
  try {
    return parseKnownHosts(await readFile(path, 'utf8'))
  } catch {
    return []
  }
}
