import { type Env, type Raw, read, refused } from '@millrace/kit/config'

/** The HTTP proxies that stores are reached through, in the form that Node's agents take. */
export interface Proxies {
  HTTP_PROXY?: string
  HTTPS_PROXY?: string
  NO_PROXY?: string
}

/** Services of the machine's own cloud, which no proxy can reach on the machine's behalf. */
const NEVER_PROXIED = ['169.254.0.0/16', 'metadata.google.internal']

export type RawProxies = ReturnType<typeof readProxies>

/** Names in lower case go first, as with Python's and Go's clients. */
const VARIABLES = { http: ['http_proxy', 'HTTP_PROXY'], https: ['https_proxy', 'HTTPS_PROXY'], none: ['no_proxy', 'NO_PROXY'] } as const

export function readProxies(env: Env) {
  return {
    http: read(env, {}, undefined, ...VARIABLES.http),
    https: read(env, {}, undefined, ...VARIABLES.https),
    none: read(env, {}, undefined, ...VARIABLES.none),
  }
}

/** What a storage profile inherits. */
export function proxyVariables(env: Env): Env {
  return Object.fromEntries(
    Object.values(VARIABLES)
      .flat()
      .map(name => [name, env[name]]),
  )
}

export function checkProxies({ http, https, none }: Partial<RawProxies> = {}): Proxies {
  if (!http && !https) return {}
  const exceptions = [...(none?.value ?? '').split(/[\s,]+/), ...NEVER_PROXIED]
  return {
    ...(http ? { HTTP_PROXY: checkProxy(http) } : {}),
    ...(https ? { HTTPS_PROXY: checkProxy(https) } : {}),
    NO_PROXY: exceptions.flatMap(exceptionsOf).join(','),
  }
}

function checkProxy(raw: Raw): string {
  const url = URL.parse(raw.value.includes('://') ? raw.value : `http://${raw.value}`)
  const isProxy = url && /^https?:$/.test(url.protocol) && url.hostname !== '' && url.pathname === '/' && !url.search && isDecodable(url)
  if (!isProxy) throw refused({ ...raw, value: '…' }, 'the URL of a proxy, http://host:port or https://user:password@host:port')
  return url.href
}

function isDecodable({ username, password }: URL): boolean {
  try {
    return !/[\r\n]/.test(decodeURIComponent(username + password))
  } catch {
    return false
  }
}

/** Node knows single hosts, suffixes with a dot and ranges of addresses; other clients take a name for its subdomains too, and networks. */
function exceptionsOf(entry: string): string[] {
  if (entry === '') return []
  const [, network, bits] = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(entry) ?? []
  if (network) return [rangeOf(network, Number(bits))]
  return /^[.*]/.test(entry) ? [entry] : [entry, `.${entry}`]
}

function rangeOf(network: string, bits: number): string {
  const size = 2 ** (32 - Math.min(bits, 32))
  const address = network.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  const first = address - (address % size)
  return `${dotted(first)}-${dotted(first + size - 1)}`
}

const dotted = (address: number) => [24, 16, 8, 0].map(shift => Math.floor(address / 2 ** shift) % 256).join('.')
