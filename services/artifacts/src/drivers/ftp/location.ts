import { invalidParameter } from '@millrace/kit/errors'
import { shownUri } from '../../uri.ts'

/** A folder of an FTP server. */
export interface FtpLocation {
  hostname: string
  port: number
  /** Absent: the configured ones, else anonymous. */
  credentials: { user: string; password: string } | undefined
  /** Absolute, without a slash at its end: "" is the server's root. */
  root: string
}

const PORT = 21

/**
 * `ftp://user:password@host:port/path`. User and password are percent-decoded; the path is absolute on the server and taken as written,
 * as MLflow takes it; a query or fragment is not part of it. No host is this machine.
 */
export function parseFtpUri(uri: string): FtpLocation {
  const [whole, authority = '', path = ''] = /^ftp:\/\/([^/?#]*)([^?#]*)/i.exec(uri) ?? []
  const at = authority.lastIndexOf('@')
  const [, host, port] = /^(\[[\da-f:.]+\]|[^:[\]\\\s]*)(?::(\d+))?$/i.exec(authority.slice(at + 1)) ?? []
  const number = port === undefined ? PORT : Number(port)
  if (whole === undefined || host === undefined || number < 1 || number > 65_535 || /[\r\n\0]/.test(path)) throw malformed(uri)
  const root = path.split('/').filter(segment => segment !== '')
  if (root.some(segment => segment === '.' || segment === '..')) throw malformed(uri)
  return {
    hostname: host.replace(/^\[|\]$/g, '') || 'localhost',
    port: number,
    credentials: at > 0 ? credentials(authority.slice(0, at), uri) : undefined,
    root: root.map(segment => `/${segment}`).join(''),
  }
}

function credentials(written: string, uri: string): { user: string; password: string } {
  const colon = written.indexOf(':')
  try {
    const user = decodeURIComponent(colon < 0 ? written : written.slice(0, colon))
    const password = colon < 0 ? '' : decodeURIComponent(written.slice(colon + 1))
    if (/[\r\n\0]/.test(user + password)) throw malformed(uri)
    return { user, password }
  } catch {
    throw malformed(uri)
  }
}

const malformed = (uri: string) =>
  invalidParameter(`Artifact location '${shownUri(uri)}' is not of the form ftp://user:password@host:port/path`)

/** @throws INVALID_PARAMETER_VALUE for what would end a command and begin another one. */
export function pathOf({ root }: FtpLocation, key: string): string {
  if (/[\r\n\0]/.test(key)) throw invalidParameter('Invalid path')
  return key === '' ? root || '/' : `${root}/${key}`
}
