import { sql } from 'kysely'
import type { ExperimentCondition, ExperimentOrder } from '../../search/experiment-filter.ts'
import type { Dialect, Fragment } from '../dialects/dialect.ts'
import { type LifecycleStage, ordered, text } from '../runs/search.ts'
import { Looks } from '../shapes/looks.ts'
import type { Shape } from '../shapes/shape.ts'

export interface ExperimentSearch {
  stages: readonly LifecycleStage[]
  conditions: readonly ExperimentCondition[]
  order: readonly ExperimentOrder[]
  offset: number
}

/** An experiment, from a JSON text. */
export type ExperimentRecord = [
  info: [
    id: number,
    name: string,
    artifactLocation: string | null,
    lifecycleStage: string,
    creationTime: number | null,
    lastUpdateTime: number | null,
  ],
  tags: [key: string, value: string | null][],
]

const column = (name: string) => sql.raw(name)

/** What a search reads of an experiment: an ExperimentRecord. */
export const EXPERIMENT: Shape = {
  name: 'experiment',
  table: 'experiments e',
  key: 'e.experiment_id',
  ids: 'integer',
  columns: ['e.experiment_id', 'e.name', 'e.artifact_location', 'e.lifecycle_stage', 'e.creation_time', 'e.last_update_time'],
  children: [
    { table: 'experiment_tags t', parent: 't.experiment_id', columns: ['t."key"', 't.value'], order: { inserted: 't' }, as: 'rows' },
  ],
}

/** The ids of a page of experiments, in order. */
export function searchExperimentsSql(search: ExperimentSearch, limit: number, d: Dialect): Fragment {
  const looks = new Looks(d)
  const where = [
    sql`e.lifecycle_stage IN (${sql.join(search.stages.map(stage => sql.lit(stage)))})`,
    ...search.conditions.map(condition => conditionSql(condition, looks, d)),
  ]
  const order = search.order.map(({ field, ascending }) => {
    const value = column(`e.${field}`)
    return d.ordered(field === 'name' ? d.textOrder(value) : value, ascending, ascending ? 'first' : 'last')
  })
  if (!search.order.some(term => term.field === 'experiment_id')) order.push(sql`e.experiment_id DESC`)
  return sql`SELECT e.experiment_id AS id FROM experiments e WHERE ${sql.join(where, sql` AND `)} ORDER BY ${sql.join(order)} ${d.page(limit, search.offset)}`
}

function conditionSql(condition: ExperimentCondition, looks: Looks, d: Dialect): Fragment {
  switch (condition.on) {
    case 'name':
      return text(column('e.name'), condition, d)
    case 'time':
      return ordered(column(`e.${condition.field}`), condition.operator, sql`${condition.value}`)
    case 'id': {
      const ids = Array.isArray(condition.value) ? condition.value : [condition.value]
      const found = d.oneOfIds(column('e.experiment_id'), ids)
      return condition.operator === '!=' || condition.operator === 'NOT IN' ? sql`NOT (${found})` : found
    }
    case 'tag': {
      const tag = sql`FROM experiment_tags t WHERE t.experiment_id = e.experiment_id AND t."key" = ${condition.key}`
      if (condition.operator === 'IS NULL') return sql`NOT ${looks.exists(tag)}`
      if (condition.operator === 'IS NOT NULL') return looks.exists(tag)
      return looks.exists(sql`${tag} AND ${text(column('t.value'), condition, d)}`)
    }
  }
}
