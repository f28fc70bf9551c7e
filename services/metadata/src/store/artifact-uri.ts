import { isAbsolute } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import { percentDecode, SCHEMES_WITH_AUTHORITY } from '@millrace/kit/python-urls'
import { shorten } from '@millrace/kit/shown'

/** A URI in the five parts of Python's urlsplit, which takes any scheme and never normalises. */
export interface UriParts {
  scheme: string
  netloc: string
  path: string
  query: string
  fragment: string
}

export function splitUri(uri: string): UriParts {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1] ?? ''
  let rest = scheme ? uri.slice(scheme.length + 1) : uri
  let fragment = ''
  let query = ''
  let netloc = ''
  if (rest.startsWith('//')) {
    const end = rest.slice(2).search(/[/?#]/)
    netloc = end < 0 ? rest.slice(2) : rest.slice(2, end + 2)
    rest = rest.slice(netloc.length + 2)
  }
  const hash = rest.indexOf('#')
  if (hash >= 0) [rest, fragment] = [rest.slice(0, hash), rest.slice(hash + 1)]
  const mark = rest.indexOf('?')
  if (mark >= 0) [rest, query] = [rest.slice(0, mark), rest.slice(mark + 1)]
  return { scheme: scheme.toLowerCase(), netloc, path: rest, query, fragment }
}

/** The URI with `path` after its own path; a query and a fragment stay at the end. */
export function appendToUriPath(uri: string, ...paths: string[]): string {
  const suffix = paths.join('/')
  const { scheme, netloc, path, query, fragment } = splitUri(uri)
  checkQuery(query)
  if (!scheme) return join(uri, suffix)
  const tail = `${query && `?${query}`}${fragment && `#${fragment}`}`
  return `${scheme}:${authorityOf(scheme, netloc, path)}${join(path, suffix)}${tail}`
}

/** What stands between a scheme and the path that is joined to it. */
function authorityOf(scheme: string, netloc: string, path: string): string {
  if (netloc) return path === '' ? `//${netloc}/` : `//${netloc}`
  return path.startsWith('//') || (path.startsWith('/') && SCHEMES_WITH_AUTHORITY.has(scheme)) ? '//' : ''
}

function join(path: string, suffix: string): string {
  return path === '' || path.endsWith('/') ? path + suffix : `${path}/${suffix}`
}

const DECODINGS_MAX = 10

/** @throws INVALID_PARAMETER_VALUE when the query holds `..`, however often it is percent-encoded. */
export function checkQuery(query: string): void {
  let text = query
  for (let i = 0; i < DECODINGS_MAX; i++) {
    const decoded = percentDecode(text)
    if (decoded === text) {
      if (text.includes('..')) throw invalidParameter('Invalid query string')
      return
    }
    text = decoded
  }
  throw invalidParameter('Invalid query string')
}

/** A local path or `file:` URI made absolute against the working directory, `..` kept; anything else as it is. */
export function resolveIfLocal(uri: string): string {
  const { scheme, netloc, path, query, fragment } = splitUri(uri)
  if (scheme === '') return isAbsolute(uri) ? uri : inWorkingDirectory(uri)
  if (scheme !== 'file') return uri
  const host = netloc.replace(/:\d*$/, '')
  if (host && host !== '.' && !host.startsWith('localhost') && !host.startsWith('127.0.0.1')) {
    throw invalidParameter(
      `${shorten(uri)} is not a valid remote uri. For remote access on windows, please consider using a different scheme such as SMB (e.g. smb://<hostname>/<path>).`,
    )
  }
  if (isAbsolute(path)) return uri
  return `file://${inWorkingDirectory(path)}${query && `?${query}`}${fragment && `#${fragment}`}`
}

function inWorkingDirectory(path: string): string {
  const parts = percentDecode(path).split('/')
  return [process.cwd(), ...parts.filter(part => part !== '' && part !== '.')].join('/').replace(/^\/\//, '/')
}
