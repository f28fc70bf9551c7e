import { invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { bytesRepr, parseInteger, repr } from './python.ts'

/** What a page token says: how many rows to skip, and in our own tokens the sort key of the last row seen. */
export interface PagePosition {
  /** Rows before the page. */
  offset: number
  /** The sort key of the last row of the page before, when the token is one of ours. */
  after?: unknown
}

/** MLflow's own have some twenty, ours some hundred. */
const TOKEN_CHARACTERS_MAX = 10_000

/** A page token as MLflow makes it: base64 of `{"offset": 2}`. Ours may carry more, which MLflow ignores. */
export function createPageToken(offset: number, after?: unknown): string {
  const extra = after === undefined ? '' : `, "after": ${JSON.stringify(after)}`
  return Buffer.from(`{"offset": ${offset}${extra}}`).toString('base64')
}

/**
 * Reads a page token; without one the page is the first.
 * @throws INVALID_PARAMETER_VALUE in MLflow's words.
 */
export function parsePageToken(token: string | undefined): PagePosition {
  if (!token) return { offset: 0 }
  const bytes = token.length > TOKEN_CHARACTERS_MAX ? undefined : decodeBase64(token)
  if (!bytes) throw invalidParameter('Invalid page token, could not base64-decode')
  let parsed: unknown
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw invalidParameter(`Invalid page token, decoded value=${bytesRepr(bytes)}`, { cause })
  }
  const given = isObject(parsed) ? parsed.offset : undefined
  if (!isObject(parsed) || isFalse(given)) throw invalidParameter(`Invalid page token, parsed value=${repr(parsed)}`)
  const offset = typeof given === 'string' ? Number(parseInteger(given)) : Math.trunc(Number(given))
  if (!Number.isSafeInteger(offset) || typeof given === 'object')
    throw invalidParameter(`Invalid page token, not stringable ${typeof given === 'string' ? shorten(given) : repr(given)}`)
  return { offset: Math.max(0, offset), after: parsed.after }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** What Python takes for false. */
const isFalse = (value: unknown) => !value || (typeof value === 'object' && Object.keys(value).length === 0)

/** Decodes as MLflow does: characters outside the alphabet are skipped, missing padding is an error. */
function decodeBase64(token: string): Buffer | undefined {
  let digits = ''
  let pads = 0
  for (const character of token) {
    if (character === '=') {
      if (digits.length % 4 >= 2 && (digits.length % 4) + ++pads >= 4) return Buffer.from(digits, 'base64')
    } else if (/[A-Za-z0-9+/]/.test(character)) {
      pads = 0
      digits += character
    }
  }
  return digits.length % 4 === 0 ? Buffer.from(digits, 'base64') : undefined
}
