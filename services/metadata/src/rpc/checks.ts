import { invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { repr } from '../search/python.ts'

export const KEY_LENGTH_MAX = 250
export const PARAM_VALUE_LENGTH_MAX = 6000
export const RUN_TAG_VALUE_LENGTH_MAX = 8000

/** Lengths count Unicode characters; there are never more of them than UTF-16 units, so most texts need no counting. */
export function longerThan(text: string, max: number): boolean {
  if (text.length <= max) return false
  if (text.length > 2 * max) return true
  let characters = 0
  for (let at = 0; at < text.length; at += (text.codePointAt(at) as number) > 0xffff ? 2 : 1) characters++
  return characters > max
}

export function checkLength(name: string, text: string, max: number): void {
  if (longerThan(text, max)) throw invalidParameter(`'${name}' exceeds the maximum length of ${max} characters`)
}

/** `text` cut at `max` characters where the server does that, else refused. */
export function fitLength(name: string, text: string, max: number, truncate: boolean): string {
  if (!longerThan(text, max)) return text
  if (!truncate) checkLength(name, text, max)
  return [...text.slice(0, 2 * max)].slice(0, max).join('')
}

/** Keys that pass every rule, the length too: almost all there are. */
const PLAIN_KEY = /^\w[\w.\- :]{0,249}$/
/** Which names a longer key could be taken for doesn't matter any more. */
const KEY_READ_CHARACTERS_MAX = 10_000
const KEY = /^[/\p{L}\p{N}_.\- :]*\n?$/u

export const isPlainKey = (key: string) => PLAIN_KEY.test(key)

/** @param path The key's place in the request, for the message. @throws INVALID_PARAMETER_VALUE for a key that MLflow does not take. */
export function checkKey(key: string, path: string): void {
  if (PLAIN_KEY.test(key)) return
  if (key.length > KEY_READ_CHARACTERS_MAX) checkLength(path, key, KEY_LENGTH_MAX)
  if (!KEY.test(key)) {
    throw invalidValue(
      path,
      key,
      'Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).',
    )
  }
  const normal = normalPath(key)
  if (normal !== key || normal === '.' || normal.startsWith('..') || normal.startsWith('/')) {
    throw invalidValue(
      path,
      key,
      'Names may be treated as files in certain cases, and must not resolve to other names when treated as such. ' +
        `This name would resolve to ${repr(normal)}`,
    )
  }
}

export function invalidValue(path: string, value: string | bigint, reason?: string) {
  const shown = typeof value === 'bigint' ? String(value) : asciiJson(shorten(value))
  return invalidParameter(`Invalid value ${shown} for parameter '${path}' supplied${reason === undefined ? '.' : `: ${reason}`}`)
}

/** JSON as Python's json.dumps writes it: ASCII only. */
function asciiJson(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Python's posixpath.normpath. */
function normalPath(path: string): string {
  if (path === '') return '.'
  const slashes = /^\/{2}(?!\/)/.test(path) ? '//' : path.startsWith('/') ? '/' : ''
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..' || (!slashes && parts.length === 0) || parts.at(-1) === '..') parts.push(part)
    else if (parts.length > 0) parts.pop()
  }
  return slashes + parts.join('/') || '.'
}
