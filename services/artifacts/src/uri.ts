import { invalidParameter } from '@millrace/kit/errors'
import { percentDecode } from '@millrace/kit/python-urls'

/** Route below which an MLflow server proxies artifacts; `http(s):` roots name it. */
const PROXY_ROUTE = '/api/2.0/mlflow-artifacts/artifacts/'

/** As MLflow's server. */
const DECODE_ROUNDS_MAX = 10

/** Lower-case scheme; "" for a plain path. */
export function schemeOf(uri: string): string {
  return /^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1]?.toLowerCase() ?? ''
}

/** Whether a location is a folder of this machine: a path or a `file:` URI. */
export const isLocal = (uri: string): boolean => ['', 'file'].includes(schemeOf(uri))

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
  const at = path.indexOf(PROXY_ROUTE)
  if (scheme === 'mlflow-artifacts') return plainPath(path)
  return at < 0 ? undefined : plainPath(path.slice(at + PROXY_ROUTE.length))
}

/** Read as clients and the proxy's routes read it together, so that both find the same artifacts: no double slashes, no escapes. */
export function plainPath(path: string): string {
  let current = path
  for (let round = 0; round < DECODE_ROUNDS_MAX; round++) {
    const next = percentDecode(current)
    if (next === current) break
    current = next
  }
  return current.replace(/\/{2,}/g, '/').replace(/^\//, '')
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
