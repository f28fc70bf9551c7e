import { invalidParameter } from '@millrace/kit/errors'

const PAGE_ROWS_DEFAULT = 100
const PAGE_ROWS_MAX = 1_000
const TOKEN_CHARACTERS_MAX = 512

export function checkPageSize(pageSize: number | undefined): number {
  const size = pageSize ?? PAGE_ROWS_DEFAULT
  if (size < 1 || size > PAGE_ROWS_MAX) throw invalidParameter(`page_size must be from 1 to ${PAGE_ROWS_MAX}, but is ${size}`)
  return size
}

export function toPageToken(parts: readonly string[]): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url')
}

/** The strings that went into toPageToken, each matching its pattern; undefined without a token. */
export function parsePageToken(token: string | undefined, ...patterns: RegExp[]): string[] | undefined {
  if (token === undefined || token === '') return undefined
  if (token.length > TOKEN_CHARACTERS_MAX) throw invalidParameter('Invalid page_token')
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, 'base64url').toString())
    if (Array.isArray(parts) && parts.length === patterns.length && patterns.every((pattern, i) => pattern.test(String(parts[i])))) {
      return parts.map(String)
    }
  } catch (reason) {
    if (!(reason instanceof SyntaxError)) throw reason
  }
  throw invalidParameter('Invalid page_token')
}
