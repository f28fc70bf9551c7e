import { sql } from 'kysely'
import type { ModelCondition, ModelText, ModelTime } from '../search/model-filter.ts'
import type { Fragment, SearchDialect } from './search-dialect.ts'
import { ordered, text } from './search-runs.ts'

export interface ModelSearch {
  experimentIds: readonly bigint[]
  conditions: readonly ModelCondition[]
  order: readonly { column: ModelText | ModelTime; ascending: boolean }[]
  limit: number
  offset: number
}

const column = (name: string) => sql.raw(name)

/** Active models from a SELECT over `logged_models m`, in order: the newest first after what `order` asks for. */
export function searchModelsSql(select: string, search: ModelSearch, d: SearchDialect): Fragment {
  const where = [
    sql`m.lifecycle_stage <> 'deleted'`,
    d.oneOfIds(column('m.experiment_id'), [...search.experimentIds]),
    ...search.conditions.map(condition => conditionSql(condition, d)),
  ]
  const order = search.order.map(term => {
    const value = column(`m.${term.column}`)
    const direction = sql.raw(term.ascending ? 'ASC' : 'DESC')
    return sql`${term.column.endsWith('_ms') ? value : d.textOrder(value)} ${direction} NULLS LAST`
  })
  if (!search.order.some(term => term.column === 'creation_timestamp_ms')) order.push(sql`m.creation_timestamp_ms DESC`)
  order.push(sql`m.model_id ASC`)
  return sql`${column(select)} WHERE ${sql.join(where, sql` AND `)} ORDER BY ${sql.join(order)} LIMIT ${search.limit} OFFSET ${search.offset}`
}

function conditionSql(condition: ModelCondition, d: SearchDialect): Fragment {
  switch (condition.on) {
    case 'time':
      return ordered(
        column(`m.${condition.field}`),
        condition.operator,
        typeof condition.value === 'bigint' ? sql`${condition.value}` : d.real(condition.value),
      )
    case 'text':
      return text(column(`m.${condition.field}`), condition, d)
    case 'param':
    case 'tag': {
      const { on, key } = condition
      const value = text(column(`t.${on}_value`), condition, d)
      return sql`EXISTS (SELECT 1 FROM ${column(`logged_model_${on}s`)} t WHERE t.model_id = m.model_id AND ${column(`t.${on}_key`)} = ${key} AND ${value})`
    }
  }
}
