import { isDeepStrictEqual } from 'node:util'
import { invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { repr } from './python.ts'

/** The query that a page token of a search for logged models belongs to, as MLflow writes it into the token. */
export interface LoggedModelQuery {
  experiment_ids: readonly string[]
  filter_string: string | null
  order_by: readonly TokenOrder[] | null
}

export interface TokenOrder {
  field_name: string
  ascending: boolean
  dataset_name: string | null
  dataset_digest: string | null
}

/** A token in MLflow's form, which MLflow reads, too. */
export function loggedModelPageToken(query: LoggedModelQuery, offset: number): string {
  return Buffer.from(JSON.stringify({ ...query, offset })).toString('base64')
}

/**
 * How many models come before the page of a token.
 * @throws INVALID_PARAMETER_VALUE in MLflow's words for a token of another query, and for one that can't be read.
 */
export function loggedModelPageOffset(token: string | undefined, query: LoggedModelQuery): number {
  if (!token) return 0
  const found = decoded(token)
  check('Experiment IDs', 'experiment IDs', query.experiment_ids, found.experiment_ids)
  check('Filter string', 'filter string', query.filter_string, found.filter_string || null)
  check('Order by', 'order by', query.order_by, isEmpty(found.order_by) ? null : found.order_by)
  const offset = found.offset || 0
  if (typeof offset === 'number' && Number.isSafeInteger(offset)) return Math.max(0, offset)
  throw invalidParameter(`Invalid page token: ${shorten(token)}. Its offset is no integer.`)
}

function check(what: string, noun: string, expected: unknown, found: unknown): void {
  if (isDeepStrictEqual(found, expected)) return
  throw invalidParameter(
    `${what} in the page token do${what.endsWith('s') ? '' : 'es'} not match the requested ${noun}. ` +
      `Expected: ${show(expected)}. Found: ${show(found)}`,
  )
}

const show = (value: unknown) => (typeof value === 'string' ? shorten(value) : repr(value))

const isEmpty = (value: unknown) => !value || (Array.isArray(value) && value.length === 0)

function decoded(token: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(token, 'base64').toString())
  } catch (cause) {
    throw invalidParameter(`Invalid page token: ${shorten(token)}. Expecting value: line 1 column 1 (char 0)`, { cause })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw invalidParameter(`Invalid page token: ${shorten(token)}. It holds no JSON object.`)
}
