import { posix } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import { schemeOf, shownUri } from '../../uri.ts'

const HDFS_SCHEMES = ['hdfs', 'viewfs', 'webhdfs', 'swebhdfs'] as const
type HdfsScheme = (typeof HDFS_SCHEMES)[number]

export interface HdfsLocation {
  scheme: HdfsScheme
  /** "" for the file system that Hadoop's configuration has as its default. */
  host: string
  port: number | undefined
  /** Absolute, without a trailing slash but for the root itself. */
  path: string
}

const FORMS: Record<HdfsScheme, string> = {
  hdfs: 'hdfs://host:port/path or hdfs:///path',
  viewfs: 'viewfs://name/path or viewfs:///path',
  webhdfs: 'webhdfs://host:port/path',
  swebhdfs: 'swebhdfs://host:port/path',
}

/**
 * The parts of a root. The path is taken as it is written. A user in the URI is dropped, as MLflow does: without Kerberos
 * it would let whoever names a location choose who the server is.
 */
export function parseHdfsUri(uri: string): HdfsLocation {
  const scheme = HDFS_SCHEMES.find(known => known === schemeOf(uri))
  if (!scheme) throw new Error(`not a scheme of HDFS: ${schemeOf(uri)}`)
  const [, authority = '', written = ''] = /^[^:]*:(?:\/\/([^/?#]*))?([^?#]*)/.exec(uri) ?? []
  const [, host, port] = /^(?:[^@]*@)?(?:(\[[0-9a-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?)?$/i.exec(authority) ?? []
  const wellFormed = authority === '' ? scheme === 'hdfs' || scheme === 'viewfs' : host !== undefined && Number(port ?? 1) <= 65_535
  if (!wellFormed || (written !== '' && !written.startsWith('/')) || written.split('/').includes('..')) {
    throw invalidParameter(`The artifact location '${shownUri(uri)}' is not of the form ${FORMS[scheme]}`)
  }
  const path = posix.normalize(`/${written}`).replace(/(.)\/$/, '$1')
  return { scheme, host: host?.toLowerCase() ?? '', port: port === undefined ? undefined : Number(port), path }
}

/** Joined without normalising: keys are checked already, and a name may hold anything but a slash. */
export function joinPath(root: string, key: string): string {
  if (key === '') return root
  return root === '/' ? `/${key}` : `${root}/${key}`
}

/** The folder that a path is in; of the root the root itself. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')))
}
