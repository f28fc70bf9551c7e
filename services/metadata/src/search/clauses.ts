import { invalidParameter, type MlflowError } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { checkConditions, checkFilterLength } from './limits.ts'
import { repr } from './python.ts'
import { statements } from './statements.ts'
import { isSpace, isWord, type Node } from './token.ts'

/** One comparison of a filter before its meaning is checked. `value` is absent for IS NULL and IS NOT NULL. */
export interface Clause {
  identifier: string
  comparator: string
  value?: Node
}

/**
 * Parses a filter into the comparisons that it joins with AND, each handed to `read` before the next is looked at; an empty one has none.
 * @param quote writes a clause that is no comparison into the error; runs and experiments differ in it.
 * @throws INVALID_PARAMETER_VALUE in MLflow's words.
 */
export function parseClauses<T>(filter: string, quote: (text: string) => string, read: (clause: Clause) => T): T[] {
  if (!filter) return []
  checkFilterLength(filter)
  let parsed: Node[][]
  try {
    parsed = statements(filter)
  } catch (cause) {
    throw invalidParameter(`Error on parsing filter '${shorten(filter)}'`, { cause })
  }
  const [statement] = parsed
  if (!statement) throw invalidParameter(`Invalid filter '${shorten(filter)}'. Could not be parsed.`)
  if (parsed.length > 1) {
    throw invalidParameter(`Search filter contained multiple expression ${repr(filter)}. Provide AND-ed expression list.`)
  }
  const items = joinWordComparisons(statement)
  checkConditions(items.filter(isComparison).length)
  const invalid = items.filter(item => !Array.isArray(item) && item.kind !== 'comparison' && !isSpace(item) && !isWord(item, 'AND'))
  if (invalid.length > 0) {
    throw invalidParameter(`Invalid clause(s) in filter string: ${shorten(invalid.map(item => quote((item as Node).text)).join(', '))}`)
  }
  return items.flatMap(item => (Array.isArray(item) ? [read(clauseOf(item))] : item.parts ? [read(clauseOf(item.parts))] : []))
}

/** A comparison whose operator is written in words: its nodes, the operator as one of them. */
type Joined = Node[]

export const isComparison = (item: Node | Joined) => Array.isArray(item) || item.kind === 'comparison'

/**
 * Finds `a IN (..)`, `a NOT IN (..)`, `a IS NULL` and `a IS NOT NULL`. The scan starts at identifiers and, when nothing fits, skips
 * the nodes it looked at, as MLflow's does: which clauses an error lists depends on it.
 */
export function joinWordComparisons(statement: readonly Node[]): (Node | Joined)[] {
  const nodes = statement.filter(node => !isSpace(node))
  const out: (Node | Joined)[] = []
  let at = 0
  while (at < nodes.length) {
    const [first, second, third, fourth] = nodes.slice(at, at + 4)
    if (!first || !second || !third) {
      out.push(...nodes.slice(at))
      break
    }
    if (first.kind !== 'identifier') {
      out.push(first)
      at++
    } else if (isWord(second, 'IN') && third.kind === 'parenthesis') {
      out.push([first, second, third])
      at += 3
    } else if (isWord(second, 'IS') && isWord(third, 'NULL')) {
      out.push([first, word('IS NULL', second)])
      at += 3
    } else if (isWord(second, 'IS') && isWord(third, 'NOT NULL')) {
      out.push([first, word('IS NOT NULL', second)])
      at += 3
    } else if (!fourth) {
      out.push(first, second, third)
      break
    } else if (isWord(second, 'NOT') && isWord(third, 'IN') && fourth.kind === 'parenthesis') {
      out.push([first, word('NOT IN', second), fourth])
      at += 4
    } else {
      out.push(first, second, third, fourth)
      at += 4
    }
  }
  return out
}

const word = (text: string, { at }: Node): Node => ({ kind: 'keyword', text, at })

function clauseOf(parts: readonly Node[]): Clause {
  const [left, operator, value, ...rest] = parts.filter(node => !isSpace(node))
  const count = parts.filter(node => !isSpace(node)).length
  if (left && operator && !value) return { identifier: identifierOf(left), comparator: operator.text }
  if (!left || !operator || rest.length > 0) throw invalidParameter(`Invalid comparison clause. Expected 3 tokens found ${count}`)
  return { identifier: identifierOf(left), comparator: operator.text, value }
}

function identifierOf(node: Node): string {
  if (node.kind === 'identifier') return node.text
  throw invalidParameter(`Invalid comparison clause. Expected 'Identifier' found '${shorten(node.text)}'`)
}

/** A key or a value without the quotes around it. */
export function stripQuotes(text: string): string {
  return isQuoted(text, "'") || isQuoted(text, '"') ? text.slice(1, -1) : text
}

export const stripBackticks = (text: string) => (isQuoted(text, '`') ? text.slice(1, -1) : text)

const isQuoted = (text: string, quote: string) => text.length >= 2 && text.startsWith(quote) && text.endsWith(quote)

/** Splits `entity.key` at its first dot; without one the entity is undefined. */
export function splitIdentifier(identifier: string): { entity?: string; key: string } {
  const dot = identifier.indexOf('.')
  return dot < 0 ? { key: identifier } : { entity: identifier.slice(0, dot), key: identifier.slice(dot + 1) }
}

/** The text of a quoted value; `unquoted` makes the error for what is no text at all. */
export function stringValue(node: Node, unquoted: (text: string) => MlflowError): string {
  if (node.kind !== 'string' && node.kind !== 'identifier') throw unquoted(node.text)
  const value = stripQuotes(node.text)
  if (value !== node.text) return value
  throw invalidParameter(
    `Parameter value is either not quoted or unidentified quote types used for string value ${shorten(node.text)}. Use either single or double quotes.`,
  )
}
