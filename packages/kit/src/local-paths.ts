import { percentDecode } from './python-urls.ts'

/**
 * The path that a local location names, which may be relative; undefined for a URI of another scheme. Percent-decoded whether it is a path
 * or a `file:` URI, as MLflow does: docs/decisions/local-locations.md. A URI's host, query and fragment are not part of it.
 */
export function localPathOf(location: string): string | undefined {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(location)?.[1]?.toLowerCase()
  if (scheme === undefined) return percentDecode(location)
  if (scheme !== 'file') return undefined
  const written = location
    .slice('file:'.length)
    .replace(/^\/\/[^/?#]*/, '')
    .replace(/[?#].*$/s, '')
  return percentDecode(written)
}
