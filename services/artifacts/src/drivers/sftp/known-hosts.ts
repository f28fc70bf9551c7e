import { createHmac } from 'node:crypto'
import { matchesPatterns } from './patterns.ts'

/** A line of a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). */
export interface KnownHost {
  revoked: boolean
  /** Names and patterns, separated by commas, or a hashed name. */
  hosts: string
  type: string
  /** In base64. */
  key: string
}

export type Verdict = 'known' | 'unknown' | 'changed' | 'revoked'

/** Certificate authorities are left out: the client can't check certificates of hosts. */
export function parseKnownHosts(text: string): KnownHost[] {
  return text.split('\n').flatMap(line => {
    const words = line.trim().split(/\s+/)
    const marker = words[0]?.startsWith('@') ? words.shift() : undefined
    const [hosts = '', type = '', key = ''] = words
    if (hosts === '' || hosts.startsWith('#') || key === '' || (marker !== undefined && marker !== '@revoked')) return []
    return [{ revoked: marker === '@revoked', hosts, type, key }]
  })
}

/** Lines about a host. Those with its port go before those without one, as for OpenSSH's client. */
export function linesOf(known: readonly KnownHost[], host: string, port: number): KnownHost[] {
  const name = host.toLowerCase()
  const withPort = port === 22 ? [] : known.filter(({ hosts }) => isAbout(hosts, `[${name}]:${port}`))
  const plain = known.filter(({ hosts }) => isAbout(hosts, name))
  return withPort.some(({ revoked }) => !revoked) ? [...withPort, ...plain.filter(({ revoked }) => revoked)] : [...withPort, ...plain]
}

/** @param lines those about the host. */
export function checkHostKey(lines: readonly KnownHost[], key: Buffer): Verdict {
  const presented = key.toString('base64')
  const same = lines.filter(line => line.key === presented)
  if (same.some(({ revoked }) => revoked)) return 'revoked'
  if (same.length > 0) return 'known'
  return lines.some(({ revoked }) => !revoked) ? 'changed' : 'unknown'
}

function isAbout(hosts: string, name: string): boolean {
  const [, salt, hash] = /^\|1\|([^|]+)\|([^|]+)$/.exec(hosts) ?? []
  if (salt === undefined || hash === undefined) return matchesPatterns(name, hosts.split(','))
  return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === hash
}
