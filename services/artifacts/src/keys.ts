import { posix } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { withoutTrailingSlashes } from '@millrace/kit/slashes'

/** Names of uploads in progress in stores that keep them beside their targets; MLflow reserves and hides the same. */
export const TEMPORARY_PREFIX = '.artifact.uploading.'

/** Folder below a store's root with the parts of uploads to stores that take none themselves: `FOLDER/UPLOAD_ID/PART_NUMBER`. */
export const RECEIVED_PARTS = `${TEMPORARY_PREFIX}parts`

const KEY_BYTES_MAX = 4096

/**
 * A key that drivers accept, from a path below a root: empty and `.` segments are dropped.
 * @throws INVALID_PARAMETER_VALUE `Invalid path` for `..`, NUL, a lone surrogate or more than 4,096 bytes.
 */
export function checkKey(path: string): string {
  if (path.includes('\0') || !path.isWellFormed() || Buffer.byteLength(path) > KEY_BYTES_MAX) throw invalidParameter('Invalid path')
  if (!/(^|\/)(\.{0,2})(\/|$)/.test(path)) return path
  const segments = path.split('/').filter(segment => segment !== '' && segment !== '.')
  if (segments.includes('..')) throw invalidParameter('Invalid path')
  return segments.join('/')
}

/** @throws INVALID_PARAMETER_VALUE as MLflow words it for reserved names and for folders written in a roundabout way. */
export function checkWritable(path: string): string {
  const name = path.split('/').findLast(segment => segment.startsWith(TEMPORARY_PREFIX))
  if (name !== undefined) {
    throw invalidParameter(
      `Invalid artifact file name: '${shorten(name)}'. Artifact names starting with '${TEMPORARY_PREFIX}' are reserved.`,
    )
  }
  const key = checkKey(path)
  if (/(^|\/)\.?$/.test(path)) throw invalidParameter(`Invalid artifact file name: '${shorten(path)}' is a folder`)
  const folder = withoutTrailingSlashes(path.slice(0, path.lastIndexOf('/') + 1))
  const plain = posix.normalize(folder)
  if (folder !== '' && (plain !== folder || plain === '.' || plain.startsWith('..'))) {
    throw invalidParameter(
      `Invalid artifact path: '${shorten(folder)}'. Names may be treated as files in certain cases, and must not resolve to other names ` +
        `when treated as such. This name would resolve to '${shorten(plain)}'`,
    )
  }
  return key
}

/** Whether a key names an upload in progress or something below one. */
export function isTemporary(key: string): boolean {
  return key.startsWith(TEMPORARY_PREFIX) || key.includes(`/${TEMPORARY_PREFIX}`)
}

/** Orders strings by code point, as MLflow and UTF-8 keyed stores do; UTF-16 order differs beyond U+FFFF. */
export function byCodePoint(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return isSurrogate(x) === isSurrogate(y) ? x - y : isSurrogate(x) ? 1 : -1
  }
  return a.length - b.length
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff
}
