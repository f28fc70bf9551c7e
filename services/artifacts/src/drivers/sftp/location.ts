import { posix } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import { shownUri } from '../../uri.ts'

/** What a URI says about the server and the account on it. */
export interface Endpoint {
  /** In lower case: a name, an address or an alias of the ssh configuration. */
  host: string
  port?: number
  user?: string
  /** In the order in which they are tried. */
  passwords: readonly string[]
}

/**
 * `sftp://user:password@host:port/path`; the path is absolute and taken as written. MLflow takes the password as written too: one
 * that reads differently percent-decoded is tried in both forms.
 */
export function parseSftpUri(uri: string): { endpoint: Endpoint; root: string } {
  const [, authority = '', path = ''] = /^sftp:\/\/([^/?#]*)([^?#]*)/i.exec(uri) ?? refuse(uri)
  const at = authority.lastIndexOf('@')
  const [, host = '', port] = /^(\[[0-9a-f:.%]+\]|[^:[\]\s\\]*)(?::(\d{1,5})?)?$/i.exec(authority.slice(at + 1)) ?? refuse(uri)
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) refuse(uri)
  const [, user = '', password] = /^([^:]*)(?::(.*))?$/s.exec(authority.slice(0, Math.max(at, 0))) ?? []
  if (path.includes('\0')) refuse(uri)
  const endpoint = {
    host: host.replace(/^\[|\]$/g, '').toLowerCase() || 'localhost',
    port: port === undefined ? undefined : Number(port),
    user: decoded(user) || undefined,
    passwords: password === undefined ? [] : [...new Set([password, decoded(password)])],
  }
  return { endpoint, root: posix.resolve('/', path) }
}

function refuse(uri: string): never {
  throw invalidParameter(`Artifact location '${shownUri(uri)}' is not of the form sftp://user@host:port/path`)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export const joinKey = (root: string, key: string): string => (key === '' ? root : posix.join(root, key))
