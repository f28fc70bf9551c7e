import { invalidParameter } from '@millrace/kit/errors'

/** Route below which an MLflow server proxies artifacts; `http(s):` roots name it. */
const PROXY_ROUTE = '/api/2.0/mlflow-artifacts/artifacts/'

/** A store's root and the path below it. */
export interface Location {
  root: string
  path: string
}

/** Lower-case scheme; "" for a plain path. */
export function schemeOf(uri: string): string {
  return /^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1]?.toLowerCase() ?? ''
}

/**
 * Cuts `ROOT#PATH` at the last `#`: the path is taken as it is written, without percent-decoding. MLflow refuses artifact paths with
 * the sign, but not roots: the operator's default root may be a folder `c#`, or have a fragment.
 */
export function splitUri(uri: string): Location {
  const at = uri.lastIndexOf('#')
  return at < 0 ? { root: uri, path: '' } : { root: uri.slice(0, at), path: uri.slice(at + 1) }
}

/**
 * Path below the artifacts destination that a proxied root names; undefined for other URIs. The host doesn't count, as for
 * MLflow's server: it takes itself for the one that is meant.
 */
export function proxiedPath(root: string): string | undefined {
  const scheme = schemeOf(root)
  if (scheme !== 'mlflow-artifacts' && scheme !== 'http' && scheme !== 'https') return undefined
  const path = root
    .slice(scheme.length + 1)
    .replace(/^\/\/[^/?#]*/, '')
    .replace(/[?#].*$/s, '')
  if (scheme === 'mlflow-artifacts') return path.replace(/^\/+/, '')
  const at = path.indexOf(PROXY_ROUTE)
  return at < 0 ? undefined : path.slice(at + PROXY_ROUTE.length).replace(/^\/+/, '')
}

/** `uri` without the password in it, for messages. */
export function shownUri(uri: string): string {
  return uri.replace(/^([a-z][a-z0-9+.-]*:\/\/[^/?#]*?):[^/?#]*@/i, '$1:***@')
}

/** Source of the wording: MLflow's artifact repository registry, when a run's location has a scheme that nothing serves. */
export function unknownScheme(uri: string, known: readonly string[]): Error {
  const list = known.map(scheme => `'${scheme}'`).join(', ')
  return invalidParameter(
    `Could not find a registered artifact repository for: ${shownUri(uri)}. Currently registered schemes are: [${list}]`,
  )
}
