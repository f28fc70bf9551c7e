import { badRequest, invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { isComparison, joinWordComparisons } from './clauses.ts'
import { checkConditions, checkFilterLength } from './limits.ts'
import { columnOf, isTime, type LoggedModelColumn, type LoggedModelTime } from './logged-model-columns.ts'
import { floatRepr, parseTuple, repr, tupleRepr } from './python.ts'
import { statements } from './statements.ts'
import { isSpace, type Node } from './token.ts'
import { parseFloatText } from './values.ts'

type TextComparison = { operator: '=' | '!=' | 'LIKE' | 'ILIKE'; value: string } | { operator: 'IN' | 'NOT IN'; value: string[] }
type NumberComparison = { operator: '=' | '!=' | '<' | '<=' | '>' | '>='; value: number }

export type LoggedModelCondition =
  | ({ on: 'time'; column: LoggedModelTime } & NumberComparison)
  | ({ on: 'attribute'; column: LoggedModelColumn } & TextComparison)
  | ({ on: 'param' | 'tag'; key: string } & TextComparison)
  | ({ on: 'metric'; key: string } & NumberComparison)

const ENTITIES = { attributes: 'attribute', metrics: 'metric', params: 'param', tags: 'tag' } as const
const NUMBER_OPERATORS = ['<', '<=', '>', '>=', '=', '!=']
const TEXT_OPERATORS = ['=', '!=', 'LIKE', 'ILIKE', 'IN', 'NOT IN']

interface Identifier {
  entity: keyof typeof ENTITIES
  key: string
}

/**
 * Reads the filter of a search for logged models. It is laxer than that of runs, as in MLflow: operators in any case, a text may do
 * without quotes, and double quotes belong to the text.
 * @throws INVALID_PARAMETER_VALUE in MLflow's words, and where MLflow fails.
 */
export function parseLoggedModelFilter(filter: string): LoggedModelCondition[] {
  if (!filter) return []
  checkFilterLength(filter)
  const [statement, more] = parse(filter)
  if (!statement || more) throw invalidParameter(`Invalid filter string: ${repr(filter)}. Expected a single SQL expression.`)
  const items = joinWordComparisons(statement)
  checkConditions(items.filter(isComparison).length)
  return items.flatMap(item => {
    if (Array.isArray(item)) return [condition(item, item.map(part => part.text).join(''))]
    if (item.kind === 'comparison') return [condition(item.parts ?? [], item.text)]
    if (item.text.trim().toUpperCase() === 'AND') return []
    throw invalidParameter(
      `Invalid filter string: ${repr(filter)}. Expected a list of comparisons separated by 'AND' ` +
        "(e.g. 'metrics.loss > 0.1 AND params.lr = 0.01').",
    )
  })
}

function parse(filter: string): Node[][] {
  try {
    return statements(filter)
  } catch (cause) {
    throw invalidParameter(`Invalid filter string: ${repr(filter)}.`, { cause })
  }
}

function condition(parts: readonly Node[], text: string): LoggedModelCondition {
  const [left, comparator, value, ...rest] = parts.filter(part => !isSpace(part)).map(part => part.text)
  if (left === undefined || comparator === undefined || value === undefined || rest.length > 0) {
    throw invalidParameter(`Invalid comparison: ${shorten(text)}. Expected a comparison with 3 tokens.`)
  }
  const { entity, key } = identifier(left)
  const operator = comparator.toUpperCase()
  const isNumber = entity === 'metrics' || (entity === 'attributes' && isTime(key))
  const operators = isNumber ? NUMBER_OPERATORS : TEXT_OPERATORS
  if (!operators.includes(operator)) {
    const which = `${entity}.${shorten(key)}: ${repr(operator)}`
    throw invalidParameter(`Invalid comparison operator for ${which}. Expected one of ${tupleRepr(operators)}.`)
  }
  const column = entity === 'attributes' ? attribute(key) : undefined
  if (isNumber) {
    const comparison = { operator: operator as NumberComparison['operator'], value: numberOf(left, value) }
    return column === undefined ? { on: 'metric', key, ...comparison } : { on: 'time', column: column as LoggedModelTime, ...comparison }
  }
  const comparison = textComparison(left, operator, value)
  return column === undefined ? { on: ENTITIES[entity] as 'param' | 'tag', key, ...comparison } : { on: 'attribute', column, ...comparison }
}

function attribute(key: string): LoggedModelColumn {
  const column = columnOf(key)
  if (column === key) return column
  throw invalidParameter(`Invalid attribute key '${shorten(key)}' specified.`)
}

/** Only a bare attribute may be written by its other name. */
function identifier(text: string): Identifier {
  const [, entity, key] = /^([a-z]+)\.(.+)$/.exec(text) ?? []
  if (entity === undefined || key === undefined) return { entity: 'attributes', key: stripAll(columnOf(text) ?? text, '`') }
  if (Object.hasOwn(ENTITIES, entity)) return { entity: entity as Identifier['entity'], key: stripAll(key, '`') }
  throw invalidParameter(`Invalid entity type: ${repr(entity)}. Expected one of ${repr(Object.keys(ENTITIES))}.`)
}

function textComparison(left: string, operator: string, value: string): TextComparison {
  const isList = value.startsWith('(') && value.endsWith(')')
  if (isList !== (operator === 'IN' || operator === 'NOT IN'))
    throw badRequest(`Invalid comparison of ${shorten(left)} with ${shorten(value)}`)
  if (isList) return { operator: operator as 'IN' | 'NOT IN', value: listOf(left, value) }
  return { operator: operator as '=' | '!=' | 'LIKE' | 'ILIKE', value: stripAll(value, "'") }
}

/** A tuple of texts and numbers; a number alone in parentheses is none to Python. */
function listOf(left: string, text: string): string[] {
  const values = parseTuple(text)
  const isTuple = values !== undefined && (values.length !== 1 || typeof values[0] === 'string' || /,\s*\)+$/.test(text))
  const texts = isTuple ? values.map(textOf) : [undefined]
  if (texts.every(one => one !== undefined)) return texts
  throw badRequest(`Invalid comparison of ${shorten(left)} with ${shorten(text)}: expected a list of texts`)
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'number') return floatRepr(value)
  return typeof value === 'string' || typeof value === 'bigint' ? String(value) : undefined
}

function numberOf(left: string, text: string): number {
  const value = parseFloatText(text)
  if (value === undefined) throw invalidParameter(`Invalid comparison of ${shorten(left)} with ${shorten(text)}: expected a number`)
  return value
}

/** Without `mark` at both ends, however often it is there. */
function stripAll(text: string, mark: string): string {
  let from = 0
  let to = text.length
  while (from < to && text[from] === mark) from++
  while (to > from && text[to - 1] === mark) to--
  return text.slice(from, to)
}
