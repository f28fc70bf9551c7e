import { invalidParameter } from '@millrace/kit/errors'
import { percentDecode, SCHEMES_WITH_AUTHORITY, SCHEMES_WITH_PARAMETERS } from '@millrace/kit/python-urls'

const DECODE_ROUNDS_MAX = 10
/** Every store takes a path of this length. */
const PATH_BYTES_MAX = 4096
/** Escaped twice, a byte takes five characters. */
const ESCAPED_CHARACTERS_MAX = 5 * PATH_BYTES_MAX

/**
 * A path from a client as MLflow takes it: percent-decoded until it stays the same, control characters spelled out as `%xx`.
 * A NUL is refused, where MLflow would spell it out too; `#`, which MLflow refuses, is a character like others (see
 * docs/decisions/number-signs-in-names.md).
 * @throws INVALID_PARAMETER_VALUE `Invalid path` for `..`, an absolute path (POSIX or Windows), NUL, more than ten rounds of escapes or too many bytes.
 */
export function safePath(path: string): string {
  if (path.length > ESCAPED_CHARACTERS_MAX) throw invalidParameter('Invalid path')
  const decoded = decodeAll(path)
  if (Buffer.byteLength(decoded) > PATH_BYTES_MAX) throw invalidParameter('Invalid path')
  if (decoded.includes('\0')) throw invalidParameter('Invalid path')
  const plain = decoded.replace(/\p{Cc}/gu, spellOut)
  const checked = /^file:/i.test(plain) ? pathOfFileUri(plain) : plain
  const isAbsolute = checked.startsWith('/') || /^[a-z]:[\\/]/i.test(checked) || /^[\\/]{2}[^\\/]+[\\/]+[^\\/]/.test(checked)
  if (isAbsolute || checked.split('/').includes('..')) throw invalidParameter('Invalid path')
  return checked
}

function spellOut(character: string): string {
  const code = character.charCodeAt(0)
  return code < 32 || code === 127 ? `%${code.toString(16).padStart(2, '0')}` : character
}

function decodeAll(path: string): string {
  let current = path
  for (let round = 0; round < DECODE_ROUNDS_MAX; round++) {
    const next = reparse(percentDecode(current))
    if (next === current) return current
    current = next
  }
  throw invalidParameter('Invalid path')
}

const pathOfFileUri = (uri: string) =>
  percentDecode(
    uri
      .slice('file:'.length)
      .replace(/^\/\/[^/?#]*/, '')
      .replace(/[?].*$/s, ''),
  )

/** What Python's `urlunparse(urlparse(text))` leaves: no tabs or line ends, no empty `?` or `;`, a lower-case scheme. What follows a `#` is part of the name. */
function reparse(text: string): string {
  if (/^[\w./-]*$/.test(text) && !text.startsWith('//')) return text
  let rest = text.replace(/^[\0-\x20]+/, '').replace(/[\t\r\n]/g, '')
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(rest)?.[1] ?? ''
  if (scheme) rest = rest.slice(scheme.length + 1)
  const host = rest.startsWith('//') ? (/^\/\/([^/?#]*)/.exec(rest)?.[1] ?? '') : ''
  if (rest.startsWith('//')) rest = rest.slice(2 + host.length)
  if (host.includes('[') !== host.includes(']')) throw invalidParameter('Invalid path')
  const hash = rest.indexOf('#')
  const fragment = hash < 0 ? '' : rest.slice(hash)
  const [beforeQuery, query] = cut(hash < 0 ? rest : rest.slice(0, hash), '?')
  const lower = scheme.toLowerCase()
  const [bare, parameters] = SCHEMES_WITH_PARAMETERS.has(lower) ? cutParameters(beforeQuery) : [beforeQuery, '']
  let joined = parameters ? `${bare};${parameters}` : bare
  if (host || (SCHEMES_WITH_AUTHORITY.has(lower) && !joined.startsWith('//'))) {
    joined = `//${host}${joined && !joined.startsWith('/') ? '/' : ''}${joined}`
  }
  return (lower && `${lower}:`) + joined + (query && `?${query}`) + fragment
}

function cut(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

/** Parameters belong to the last segment. */
function cutParameters(path: string): [string, string] {
  const at = path.indexOf(';', Math.max(0, path.lastIndexOf('/')))
  return at < 0 ? [path, ''] : [path.slice(0, at), path.slice(at + 1)]
}
