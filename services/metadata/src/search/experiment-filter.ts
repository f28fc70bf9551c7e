import { badRequest, invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { type Clause, parseClauses, splitIdentifier, stringValue, stripBackticks, stripQuotes } from './clauses.ts'
import { checkOrderBy } from './limits.ts'
import { parseOrderItem } from './order-by.ts'
import { floatRepr, repr, setRepr } from './python.ts'
import type { ListOperator, OrderedOperator, PresenceOperator, TextOperator } from './run-filter.ts'
import { comparableExperimentId, isNumber, listValue, numberValue } from './values.ts'

type ExperimentField = 'name' | 'experiment_id' | 'creation_time' | 'last_update_time'
type ExperimentTime = 'creation_time' | 'last_update_time'

export type ExperimentCondition =
  | { on: 'name'; operator: TextOperator; value: string }
  | { on: 'id'; operator: '=' | '!='; value: bigint }
  | { on: 'id'; operator: ListOperator; value: bigint[] }
  | { on: 'time'; field: ExperimentTime; operator: OrderedOperator; value: bigint }
  | { on: 'tag'; key: string; operator: TextOperator; value: string }
  | { on: 'tag'; key: string; operator: PresenceOperator }

export interface ExperimentOrder {
  field: ExperimentField
  ascending: boolean
}

const FIELDS: readonly string[] = ['name', 'experiment_id', 'creation_time', 'last_update_time']
const TIMES: readonly string[] = ['creation_time', 'last_update_time']
const ORDERED: readonly string[] = ['=', '!=', '<', '<=', '>', '>=']
const TEXT: readonly string[] = ['=', '!=', 'LIKE', 'ILIKE']
const TEXT_OR_LIST: readonly string[] = ['!=', '=', 'LIKE', 'ILIKE', 'IN', 'NOT IN']

/**
 * Reads the filter of a search for experiments. Operators are in upper case here, unlike those of runs.
 * @throws INVALID_PARAMETER_VALUE in MLflow's words.
 */
export function parseExperimentFilter(filter: string): ExperimentCondition[] {
  const checked = parseClauses(filter, text => text, checkClause)
  return checked.map(condition => condition())
}

/** The order of a search for experiments, without its tie-breaker; the newest first when nothing is asked for. */
export function parseExperimentOrder(orderBy: readonly string[]): ExperimentOrder[] {
  checkOrderBy(orderBy)
  return (orderBy.length > 0 ? orderBy : ['creation_time DESC', 'experiment_id ASC']).map(item => {
    const { field, ascending } = parseOrderItem(item)
    const { entity, key } = identifierOf(field)
    if (entity === 'tag') throw invalidParameter('Invalid order_by entity: tag')
    return { field: key as ExperimentField, ascending }
  })
}

function identifierOf(text: string): { entity: 'attribute' | 'tag'; key: string } {
  const { entity = 'attribute', key: rawKey } = splitIdentifier(text)
  if (!['attribute', 'tag', 'tags'].includes(entity)) {
    throw invalidParameter(`Invalid entity type '${shorten(entity)}'. Valid entity types are ('attribute', 'tag', 'tags')`)
  }
  const key = stripBackticks(stripQuotes(rawKey))
  if (entity === 'attribute' && !FIELDS.includes(key)) {
    throw invalidParameter(`Invalid attribute key '${shorten(key)}' specified. Valid keys are '${setRepr(FIELDS)}'`)
  }
  return { entity: entity === 'attribute' ? 'attribute' : 'tag', key }
}

/** Checks form and value at once; the operator is checked by the returned function, after all other clauses were read. */
function checkClause({ identifier, comparator: operator, value }: Clause): () => ExperimentCondition {
  const { entity, key } = identifierOf(identifier)
  if (!value) {
    if (entity === 'attribute') throw invalidParameter(`IS NULL / IS NOT NULL is only supported for tags, not for attribute '${key}'`)
    return () => ({ on: 'tag', key, operator: operator.toUpperCase() as PresenceOperator })
  }
  if (entity === 'tag') {
    const text = stringValue(value, got =>
      invalidParameter(`Expected a quoted string value for tag (e.g. 'my-value'). Got value ${shorten(got)}`),
    )
    return () => {
      if (!TEXT.includes(operator)) throw invalidParameter(`Invalid comparator for tag: ${shorten(operator)}`)
      return { on: 'tag', key, operator: operator as TextOperator, value: text }
    }
  }
  if (TIMES.includes(key)) {
    if (!isNumber(value)) throw invalidParameter(`Expected numeric value type for numeric attribute: ${key}. Found ${shorten(value.text)}`)
    const time = numberValue(value)
    return () => timeCondition(key as ExperimentTime, operator, time)
  }
  const unquoted = (got: string) => invalidParameter(`Expected a quoted string value for attributes. Got value ${shorten(got)}`)
  if (value.kind !== 'parenthesis') {
    const text = stringValue(value, unquoted)
    return () => (key === 'name' ? nameCondition(operator, text) : idCondition(operator, text))
  }
  if (key !== 'experiment_id') {
    throw invalidParameter("Only ['experiment_id'] attributes support comparison with a list of quoted string values.")
  }
  const list = listValue(value)
  return () => idCondition(operator, list)
}

function timeCondition(field: ExperimentTime, operator: string, value: bigint | number): ExperimentCondition {
  if (!ORDERED.includes(operator)) throw invalidParameter(`Invalid comparator '${shorten(operator)}' not one of '${setRepr(TEXT_OR_LIST)}`)
  if (typeof value === 'number') throw invalidParameter(`Invalid value for numeric attribute '${field}': ${repr(floatRepr(value))}`)
  return { on: 'time', field, operator: operator as OrderedOperator, value }
}

function nameCondition(operator: string, value: string): ExperimentCondition {
  if (!TEXT_OR_LIST.includes(operator))
    throw invalidParameter(`Invalid comparator '${shorten(operator)}' not one of '${setRepr(TEXT_OR_LIST)}'`)
  if (!TEXT.includes(operator)) throw invalidParameter(`Invalid comparator for string attribute: ${shorten(operator)}`)
  return { on: 'name', operator: operator as TextOperator, value }
}

function idCondition(operator: string, value: string | string[]): ExperimentCondition {
  if (!['=', '!=', 'IN', 'NOT IN'].includes(operator)) throw invalidParameter(`Invalid comparator for experiment_id: ${shorten(operator)}`)
  if (Array.isArray(value)) {
    const ids = value.map(comparableExperimentId)
    if (operator !== 'IN' && operator !== 'NOT IN') throw badRequest(`A list of values cannot be compared with ${shorten(operator)}`)
    return { on: 'id', operator, value: ids }
  }
  const id = comparableExperimentId(value)
  if (operator !== '=' && operator !== '!=') throw invalidParameter(`Invalid comparator for experiment_id: ${shorten(operator)}`)
  return { on: 'id', operator, value: id }
}
