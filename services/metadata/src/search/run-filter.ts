import { badRequest, invalidParameter, type MlflowError } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { type Clause, parseClauses, splitIdentifier, stringValue, stripBackticks, stripQuotes } from './clauses.ts'
import { setRepr } from './python.ts'
import type { Node } from './token.ts'
import { isNumber, listValue, numberValue } from './values.ts'

export type OrderedOperator = '=' | '!=' | '<' | '<=' | '>' | '>='
export type TextOperator = '=' | '!=' | 'LIKE' | 'ILIKE'
export type ListOperator = 'IN' | 'NOT IN'
export type PresenceOperator = 'IS NULL' | 'IS NOT NULL'

export type TextAttribute = 'run_id' | 'run_name' | 'status' | 'artifact_uri' | 'user_id'
export type NumberAttribute = 'start_time' | 'end_time'
type DatasetField = 'name' | 'digest' | 'context'

/** One condition on a run. Conditions are independent of each other: two on one entity may be met by different rows. */
export type RunCondition =
  | { on: 'text-attribute'; name: TextAttribute; operator: TextOperator; value: string }
  | { on: 'text-attribute'; name: TextAttribute; operator: ListOperator; value: string[] }
  | { on: 'number-attribute'; name: NumberAttribute; operator: OrderedOperator; value: bigint | number }
  | { on: 'metric'; key: string; operator: OrderedOperator; value: number }
  | { on: 'param' | 'tag'; key: string; operator: TextOperator; value: string }
  | { on: 'param' | 'tag'; key: string; operator: PresenceOperator }
  | { on: 'dataset'; field: DatasetField; operator: TextOperator; value: string }
  | { on: 'dataset'; field: DatasetField; operator: ListOperator; value: string[] }

export type RunEntity = 'metric' | 'parameter' | 'tag' | 'attribute' | 'dataset'

const ENTITIES: Record<string, RunEntity> = {
  metric: 'metric',
  metrics: 'metric',
  parameter: 'parameter',
  parameters: 'parameter',
  param: 'parameter',
  params: 'parameter',
  tag: 'tag',
  tags: 'tag',
  attribute: 'attribute',
  attributes: 'attribute',
  attr: 'attribute',
  run: 'attribute',
  dataset: 'dataset',
  datasets: 'dataset',
}

const ORDERED: readonly string[] = ['>', '>=', '!=', '=', '<', '<=']
const TEXT: readonly string[] = ['!=', '=', 'LIKE', 'ILIKE']
const TEXT_OR_LIST: readonly string[] = [...TEXT, 'IN', 'NOT IN']
const TEXT_OR_PRESENCE: readonly string[] = [...TEXT, 'IS NULL', 'IS NOT NULL']

const NUMBER_ATTRIBUTES: Record<string, NumberAttribute> = {
  start_time: 'start_time',
  end_time: 'end_time',
  created: 'start_time',
  Created: 'start_time',
}
const TEXT_ATTRIBUTES: Record<string, TextAttribute> = {
  run_id: 'run_id',
  run_name: 'run_name',
  status: 'status',
  artifact_uri: 'artifact_uri',
  user_id: 'user_id',
}
const NAME_ALIASES: Record<string, TextAttribute> = { 'run name': 'run_name', 'Run name': 'run_name', 'Run Name': 'run_name' }
const DATASET_FIELDS: Record<string, DatasetField> = { name: 'name', digest: 'digest', context: 'context' }

export const ORDER_ATTRIBUTES: Record<string, TextAttribute | NumberAttribute> = { ...TEXT_ATTRIBUTES, ...NUMBER_ATTRIBUTES }
const FILTER_ATTRIBUTES: Record<string, TextAttribute | NumberAttribute> = { ...ORDER_ATTRIBUTES, ...NAME_ALIASES }

/** A filter whose form and values are checked; `conditions` then checks the operators, which MLflow does after it reads order_by. */
export interface RunFilter {
  conditions(): RunCondition[]
}

/**
 * Reads the filter of a search for runs.
 * @throws INVALID_PARAMETER_VALUE in MLflow's words, here and in `conditions`.
 */
export function parseRunFilter(filter: string): RunFilter {
  const checked = parseClauses(filter, text => `'${text}'`, checkClause)
  return {
    conditions() {
      const conditions = checked.map(condition => condition())
      conditions.forEach(checkList)
      return conditions
    },
  }
}

/** What `entity.key` names; `attributes` are those that may be named here. */
export function runIdentifier(text: string, attributes: Record<string, unknown>): { entity: RunEntity; key: string } {
  const { entity: written = 'attribute', key: rawKey } = splitIdentifier(text)
  const name = stripBackticks(written)
  const entity = Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : undefined
  if (!entity) {
    throw invalidParameter(
      `Invalid entity type '${shorten(name)}'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']`,
    )
  }
  const key = stripBackticks(stripQuotes(rawKey))
  const valid = entity === 'attribute' ? attributes : entity === 'dataset' ? DATASET_FIELDS : undefined
  if (valid && !Object.hasOwn(valid, key)) {
    throw invalidParameter(`Invalid ${entity} key '${shorten(key)}' specified. Valid keys are '${setRepr(Object.keys(valid))}'`)
  }
  return { entity, key }
}

function checkClause({ identifier, comparator, value }: Clause): () => RunCondition {
  const { entity, key } = runIdentifier(identifier, FILTER_ATTRIBUTES)
  const operator = comparator.toUpperCase()
  if (!value) return presence(entity, key, operator)
  switch (entity) {
    case 'metric':
      if (!isNumber(value)) throw invalidParameter(`Expected numeric value type for metric. Found ${shorten(value.text)}`)
      return () => ({ on: 'metric', key, operator: ordered(operator, ORDERED, ''), value: Number(value.text) })
    case 'parameter':
    case 'tag': {
      const on = entity === 'tag' ? 'tag' : 'param'
      const text = stringValue(value, got =>
        invalidParameter(`Expected a quoted string value for ${entity} (e.g. 'my-value'). Got value ${shorten(got)}`),
      )
      return () => ({ on, key, operator: textual(operator, TEXT_OR_PRESENCE, on === 'param' ? "'" : ''), value: text })
    }
    case 'attribute':
      return attribute(key, operator, value)
    case 'dataset': {
      const field = DATASET_FIELDS[key] as DatasetField
      const read = textOrList(value, got =>
        invalidParameter(`Expected a quoted string value for dataset attributes. Got value ${shorten(got)}`),
      )
      return () => ({ on: 'dataset', field, ...compared(operator, read, '') })
    }
  }
}

function presence(entity: RunEntity, key: string, operator: string): () => RunCondition {
  if (entity !== 'tag' && entity !== 'parameter') {
    throw invalidParameter(`IS NULL / IS NOT NULL is only supported for tags and params, not for '${entity}' '${shorten(key)}'`)
  }
  return () => ({ on: entity === 'tag' ? 'tag' : 'param', key, operator: operator as PresenceOperator })
}

function attribute(key: string, operator: string, value: Node): () => RunCondition {
  const number = NUMBER_ATTRIBUTES[key]
  if (number) {
    if (!isNumber(value)) throw invalidParameter(`Expected numeric value type for numeric attribute: ${key}. Found ${shorten(value.text)}`)
    const limit = numberValue(value)
    // MLflow's text names the operators of text attributes here.
    return () => ({ on: 'number-attribute', name: number, operator: ordered(operator, TEXT_OR_LIST, ''), value: limit })
  }
  if (value.kind === 'parenthesis' && key !== 'run_id') {
    throw invalidParameter("Only ['run_id'] attributes support comparison with a list of quoted string values.")
  }
  const name = FILTER_ATTRIBUTES[key] as TextAttribute
  const read = textOrList(value, got => invalidParameter(`Expected a quoted string value for attributes. Got value ${shorten(got)}`))
  return () => ({ on: 'text-attribute', name, ...compared(operator, read, "'") })
}

function textOrList(value: Node, unquoted: (text: string) => MlflowError): string | string[] {
  return value.kind === 'parenthesis' ? listValue(value) : stringValue(value, unquoted)
}

function compared(operator: string, value: string | string[], close: string) {
  const checked = check(operator, TEXT_OR_LIST, close)
  return Array.isArray(value) ? { operator: checked as ListOperator, value } : { operator: checked as TextOperator, value }
}

/** MLflow's database refuses it, after all operators are checked. */
function checkList(condition: RunCondition): void {
  if (!('value' in condition) || !Array.isArray(condition.value)) return
  const { operator } = condition
  if (operator !== 'IN' && operator !== 'NOT IN') throw badRequest(`A list of values cannot be compared with ${shorten(operator)}`)
}

function ordered(operator: string, listed: readonly string[], close: string): OrderedOperator {
  if (!ORDERED.includes(operator)) refuse(operator, listed, close)
  return operator as OrderedOperator
}

const textual = (operator: string, valid: readonly string[], close: string) => check(operator, valid, close) as TextOperator

function check(operator: string, valid: readonly string[], close: string): string {
  if (!valid.includes(operator)) refuse(operator, valid, close)
  return operator
}

/** `close` is the quote after the list, which MLflow's texts have for some entities only. */
function refuse(operator: string, valid: readonly string[], close: string): never {
  throw invalidParameter(`Invalid comparator '${shorten(operator)}' not one of '${setRepr(valid)}${close}`)
}
