import { guessType, splitExtension } from '@millrace/kit/media-types'

/** Extensions, and names without one, that MLflow serves as text so that browsers don't execute them. */
const TEXT = new Set(
  (
    'txt log err cfg conf cnf cf ini properties prop hocon toml yaml yml xml json js py py3 csv tsv md rst ipynb ' + 'MLmodel mlproject'
  ).split(' '),
)

/** Media type that MLflow serves a file of this name with. */
export function servedType(name: string): string {
  const extension = splitExtension(name)[1].replaceAll('.', '')
  if (TEXT.has(extension || name)) return 'text/plain'
  return guessType(name).type ?? 'application/octet-stream'
}

/** Content-Disposition of RFC 6266: an ASCII fallback, and RFC 5987's encoding for other names. */
export function attachment(name: string): string {
  if (/^\p{ASCII}*$/u.test(name)) return `attachment; filename=${quoteValue(name)}`
  const ascii = name.normalize('NFKD').replace(/\P{ASCII}/gu, '') || 'download'
  return `attachment; filename=${quoteValue(ascii)}; filename*=UTF-8''${encodeAttribute(name)}`
}

function quoteValue(value: string): string {
  if (/^[\w!#$%&'*+.^`|~-]+$/.test(value)) return value
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/** Percent-encodes all but RFC 5987's attr-char. */
function encodeAttribute(value: string): string {
  return encodeURIComponent(value)
    .replace(/[*'()]/g, character => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%(?:23|24|26|2B|5E|60|7C)/g, encoded => decodeURIComponent(encoded))
}
