import { invalidParameter } from '@millrace/kit/errors'
import { type Clause, parseClauses, splitIdentifier, stringValue, stripBackticks, stripQuotes } from './clauses.ts'
import { repr } from './python.ts'
import { isNumber, listValue, numberValue } from './values.ts'

export type ModelText = 'name' | 'model_id' | 'model_type' | 'source_run_id'
export type ModelTime = 'creation_timestamp_ms' | 'last_updated_timestamp_ms'

type TextComparison = { operator: '=' | '!=' | 'LIKE' | 'ILIKE'; value: string } | { operator: 'IN' | 'NOT IN'; value: string[] }

export type ModelCondition =
  | { on: 'time'; field: ModelTime; operator: string; value: bigint | number }
  | ({ on: 'text'; field: ModelText } & TextComparison)
  | ({ on: 'param' | 'tag'; key: string } & TextComparison)

const TEXTS: Record<string, ModelText> = { name: 'name', model_id: 'model_id', model_type: 'model_type', source_run_id: 'source_run_id' }
const TIMES: Record<string, ModelTime> = {
  creation_timestamp: 'creation_timestamp_ms',
  creation_timestamp_ms: 'creation_timestamp_ms',
  creation_time: 'creation_timestamp_ms',
  last_updated_timestamp: 'last_updated_timestamp_ms',
  last_updated_timestamp_ms: 'last_updated_timestamp_ms',
}
const ORDERED = ['=', '!=', '<', '<=', '>', '>=']
const ONE_TEXT = ['=', '!=', 'LIKE', 'ILIKE']
const SEARCHED = ['attributes', 'params', 'tags']

/** Reads the filter of a search for logged models; operators in any case. @throws INVALID_PARAMETER_VALUE */
export function parseModelFilter(filter: string): ModelCondition[] {
  return parseClauses(filter, text => text, condition)
}

/** The column of an attribute that models can be ordered by. @throws INVALID_PARAMETER_VALUE in MLflow's words. */
export function modelOrderColumn(field: string): ModelText | ModelTime {
  const key = field.replace(/^attributes\./, '')
  const column = own(TEXTS, key) ?? own(TIMES, key)
  if (column) return column
  throw invalidParameter(`Invalid order by field name: ${field}`, { errorClass: 'ATTRIBUTE_NOT_FOUND', sqlstate: 'KAM04' })
}

function condition({ identifier, comparator, value }: Clause): ModelCondition {
  const { entity = 'attributes', key: raw } = splitIdentifier(identifier)
  if (!SEARCHED.includes(entity)) throw invalidParameter(`Invalid entity type: ${repr(entity)}. Expected one of ${repr(SEARCHED)}.`)
  const key = stripBackticks(stripQuotes(raw))
  const operator = comparator.toUpperCase()
  const time = entity === 'attributes' ? own(TIMES, key) : undefined
  if (time) {
    if (!value || !isNumber(value) || !ORDERED.includes(operator)) throw invalidParameter(`Invalid comparison of ${key} with ${comparator}`)
    return { on: 'time', field: time, operator, value: numberValue(value) }
  }
  const comparison = textComparison(key, operator, value)
  if (entity !== 'attributes') return { on: entity === 'params' ? 'param' : 'tag', key, ...comparison }
  const field = own(TEXTS, key)
  if (!field)
    throw invalidParameter(`Invalid attribute key '${key}' specified. Valid keys are ${repr(Object.keys({ ...TEXTS, ...TIMES }))}`)
  return { on: 'text', field, ...comparison }
}

function textComparison(key: string, operator: string, value: Clause['value']): TextComparison {
  if (value && (operator === 'IN' || operator === 'NOT IN')) return { operator, value: listValue(value) }
  if (!value || !ONE_TEXT.includes(operator)) throw invalidParameter(`Invalid comparison of ${key} with ${operator}`)
  const text = stringValue(value, got => invalidParameter(`Expected a quoted string value for ${key}. Got value ${got}`))
  return { operator: operator as '=' | '!=' | 'LIKE' | 'ILIKE', value: text }
}

const own = <T>(table: Record<string, T>, key: string): T | undefined => (Object.hasOwn(table, key) ? table[key] : undefined)
