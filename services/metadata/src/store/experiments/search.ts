import { sql } from 'kysely'
import type { ExperimentCondition, ExperimentOrder } from '../../search/experiment-filter.ts'
import { Looks } from '../looks.ts'
import { type LifecycleStage, ordered, text } from '../runs/search.ts'
import type { Fragment, SearchDialect } from '../search-dialect.ts'

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

/** A page of experiments, in order: rows of one ExperimentRecord. */
export function searchExperimentsSql(search: ExperimentSearch, limit: number, d: SearchDialect): Fragment {
  const looks = new Looks()
  const where = [
    sql`e.lifecycle_stage IN (${sql.join(search.stages.map(stage => sql.lit(stage)))})`,
    ...search.conditions.map(condition => conditionSql(condition, looks, d)),
  ]
  const order = search.order.map(({ field, ascending }) => {
    const value = column(`e.${field}`)
    return sql`${field === 'name' ? d.textOrder(value) : value} ${sql.raw(ascending ? 'ASC' : 'DESC')} NULLS ${sql.raw(ascending ? 'FIRST' : 'LAST')}`
  })
  if (!search.order.some(term => term.field === 'experiment_id')) order.push(sql`e.experiment_id DESC`)
  const record = d.jsonArray(
    'e.experiment_id',
    'e.name',
    'e.artifact_location',
    'e.lifecycle_stage',
    'e.creation_time',
    'e.last_update_time',
  )
  const tags = d.jsonList(d.jsonArray('t.key', 't.value'), d.inserted('t'))
  // Their key begins with the tag's: a look for each experiment, where it is done before the page is cut out, would read all tags for each.
  return sql`WITH page AS (
      SELECT e.*, ROW_NUMBER() OVER () AS place FROM (
        SELECT e.* FROM experiments e WHERE ${sql.join(where, sql` AND `)} ORDER BY ${sql.join(order)} LIMIT ${limit} OFFSET ${search.offset}
      ) e
    ), tagged AS (
      SELECT t.experiment_id, ${sql.raw(tags)} AS tags FROM experiment_tags t
      WHERE t.experiment_id IN (SELECT experiment_id FROM page) GROUP BY t.experiment_id
    )
    SELECT ${sql.raw(d.jsonText(record, "coalesce(t.tags, '[]')"))} AS json FROM page e LEFT JOIN tagged t ON t.experiment_id = e.experiment_id
    ORDER BY e.place`
}

function conditionSql(condition: ExperimentCondition, looks: Looks, d: SearchDialect): Fragment {
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
      const tag = sql`FROM experiment_tags t WHERE t.experiment_id = e.experiment_id AND t.key = ${condition.key}`
      if (condition.operator === 'IS NULL') return sql`NOT ${looks.exists(tag)}`
      if (condition.operator === 'IS NOT NULL') return looks.exists(tag)
      return looks.exists(sql`${tag} AND ${text(column('t.value'), condition, d)}`)
    }
  }
}
