import { SCHEMES } from './drivers/table.ts'

const PORT_MAX = 65_535

/**
 * `family host port` of each place that the server might connect to for a URI of this scheme and authority; undefined when it names no
 * host, none when that can't be told.
 */
export function hostTargets(scheme: string, authority: string): string[] | undefined {
  const hosts = SCHEMES.get(scheme)?.hosts
  if (!hosts || (hosts.optional && authority === '')) return undefined
  const [, host, port] = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(authority.slice(authority.lastIndexOf('@') + 1)) ?? []
  if (host === undefined || /[\\\s]/.test(authority) || Number(port ?? 0) > PORT_MAX) return []
  const ports = port ? [Number(port)] : hosts.ports.length > 0 ? hosts.ports : ['']
  return ports.map(number => `${hosts.family} ${host.toLowerCase()} ${number}`)
}
