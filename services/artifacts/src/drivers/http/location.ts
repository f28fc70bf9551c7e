import { invalidParameter } from '@millrace/kit/errors'
import { isTemporary, TEMPORARY_PREFIX } from '../../keys.ts'
import { plainPath, schemeOf, shownUri } from '../../uri.ts'
import { basic, type HttpConfig } from './config.ts'

const ARTIFACTS = '/api/2.0/mlflow-artifacts/artifacts'

/** A folder of another tracking server's artifacts. */
export interface HttpLocation {
  protocol: 'http:' | 'https:'
  hostname: string
  /** Undefined for the protocol's own. */
  port: number | undefined
  /** Path below which the server has its API; "" or with a leading slash only. */
  prefix: string
  /** Without slashes at its ends. */
  root: string
  /** Authorization that the URI itself carries. */
  authorization: string | undefined
}

/**
 * `http(s)://host/PREFIX/api/2.0/mlflow-artifacts/artifacts/PATH` or `mlflow-artifacts://host/PATH`. The path is taken as written,
 * a query or fragment is not part of it.
 */
export function parseHttpUri(uri: string, { tracking }: Pick<HttpConfig, 'tracking'> = {}): HttpLocation {
  const [, authority = '', path = ''] = /^[^:]*:\/\/([^/?#]+)([^?#]*)/.exec(uri) ?? []
  const scheme = schemeOf(uri)
  const url = /[\\\s]/.test(authority) ? null : URL.parse(`https://${authority}`)
  if (!url?.hostname) throw malformed(uri)
  const host = { hostname: url.hostname.replace(/^\[|\]$/g, ''), port: portOf(authority), authorization: credentials(url) }
  if (scheme === 'mlflow-artifacts') {
    const protocol = tracking?.protocol ?? (host.port === undefined || host.port === 443 ? 'https:' : 'http:')
    const root = path.startsWith(`${ARTIFACTS}/`) || path === ARTIFACTS ? path.slice(ARTIFACTS.length) : path
    return { ...host, protocol, prefix: tracking?.prefix ?? '', root: trimmed(root) }
  }
  const at = `${path}/`.indexOf(`${ARTIFACTS}/`)
  if (at < 0 || (scheme !== 'http' && scheme !== 'https')) throw malformed(uri)
  return {
    ...host,
    protocol: `${scheme}:`,
    prefix: path.slice(0, at).replace(/\/+$/, ''),
    root: trimmed(path.slice(at + ARTIFACTS.length)),
  }
}

const trimmed = (path: string) => path.replace(/^\/+|\/+$/g, '')

const malformed = (uri: string) =>
  invalidParameter(
    `Artifact location '${shownUri(uri)}' is not of the form http(s)://host${ARTIFACTS}/path or mlflow-artifacts://host:port/path`,
  )

/** As written, since URL drops the one that its protocol has by default. */
function portOf(authority: string): number | undefined {
  const written = /:(\d+)$/.exec(authority)?.[1]
  return written === undefined ? undefined : Number(written)
}

function credentials({ username, password }: URL): string | undefined {
  if (!username) return undefined
  try {
    return basic(decodeURIComponent(username), decodeURIComponent(password))
  } catch {
    return basic(username, password)
  }
}

/** MLflow's servers take no uploads under the names that hide uploads in progress, so such keys have others there. */
const STAND_IN = '.millrace.uploading.'

/** Path of an object below the server's artifact root. The root's escapes are read as the other server reads them in a client's URL. */
export function artifactPath({ root: written }: HttpLocation, key: string): string {
  const root = plainPath(written)
  const path = isTemporary(key) ? key.replaceAll(TEMPORARY_PREFIX, STAND_IN) : key
  return root === '' || path === '' ? root + path : `${root}/${path}`
}

/** A name as keys have it, from a listing. */
export function ownName(name: string): string {
  return name.startsWith(STAND_IN) ? TEMPORARY_PREFIX + name.slice(STAND_IN.length) : name
}

/**
 * Whether the other server would keep a path under its own name. MLflow's servers decode paths until nothing changes, take them
 * through Python's `urlparse` and spell control characters out. Source: /api/2.0/mlflow-artifacts/artifacts, the tests of this driver.
 */
export function isAddressable(path: string): boolean {
  return !/\p{Cc}|%[\da-f]{2}|^ |[?;#]$|^[a-z][a-z\d+.-]*:/iu.test(path)
}

/** Path of an object that is to be written. */
export function writablePath(location: HttpLocation, key: string): string {
  const path = artifactPath(location, key)
  if (!isAddressable(path)) throw invalidParameter('Invalid path: another tracking server can keep no artifact under this name')
  return path
}

/** Path of a request: `/PREFIX/api/2.0/mlflow-artifacts/ROUTE/PATH`. */
export function requestPath({ prefix }: HttpLocation, route: string, path: string): string {
  const encoded = path.split('/').map(encodeURIComponent).join('/')
  return `${prefix}/api/2.0/mlflow-artifacts/${route}${encoded === '' ? '' : `/${encoded}`}`
}
