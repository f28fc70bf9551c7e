import { sql } from 'kysely'
import { checkPattern } from '../../search/limits.ts'
import type { RunOrder } from '../../search/order-by.ts'
import type { RunCondition } from '../../search/run-filter.ts'
import type { Dialect, Fragment } from '../dialects/dialect.ts'
import { Looks } from '../shapes/looks.ts'
import type { Reads } from '../shapes/reads.ts'

export type LifecycleStage = 'active' | 'deleted'

/** Where a page of runs starts when the order is the default one: after the run with this start time and id. */
export interface RunCursor {
  startTime: bigint
  runId: string
}

export interface RunSearch {
  experimentIds: readonly bigint[]
  stages: readonly LifecycleStage[]
  conditions: readonly RunCondition[]
  order: readonly RunOrder[]
  /** Rows to skip; unused with `after`. */
  offset: number
  /** Only for the default order. */
  after?: RunCursor
}

const column = (name: string) => sql.raw(name)

/** The ids of a page of runs, in order: rows of [id, sort_key], the sort key being the start time. */
export function searchRunsSql(search: RunSearch, limit: number, reads: Pick<Reads, 'dialect' | 'runsOf'>): Fragment {
  const d = reads.dialect
  const looks = new Looks(d)
  const runs = reads.runsOf(search.experimentIds)
  const where: Fragment[] = [runs.where, stageIn(search.stages)]
  bestFirst(search.conditions).forEach((condition, i) => {
    where.push(conditionSql(condition, `f${i}`, looks, d))
  })
  const order = search.order.flatMap((term, i) => orderSql(term, `o${i}`, looks, d))
  if (!search.order.some(term => term.by === 'attribute' && term.name === 'start_time'))
    order.push(d.ordered(runs.startTime, false, 'last'))
  order.push(sql`r.run_uuid ASC`)
  if (search.after) where.push(afterSql(search.after, runs.startTime))
  const offset = search.after ? 0 : search.offset
  return sql`SELECT r.run_uuid AS id, ${d.text(runs.startTime)} AS sort_key FROM ${runs.from} ${sql.join(looks.joins, sql` `)} WHERE ${sql.join(where, sql` AND `)} ORDER BY ${sql.join(order)} ${d.page(limit, offset)}`
}

const stageIn = (stages: readonly LifecycleStage[]) => sql`r.lifecycle_stage IN (${sql.join(stages.map(stage => sql.lit(stage)))})`

/** The run itself may be gone: the next in order follow its place. */
const afterSql = ({ startTime, runId }: RunCursor, column: Fragment) =>
  sql`(${column} < ${startTime} OR (${column} = ${startTime} AND r.run_uuid > ${runId}) OR ${column} IS NULL)`

/** SQLite looks the conditions up in the order in which they are written: equality leaves the fewest runs for the others. */
const bestFirst = (conditions: readonly RunCondition[]) =>
  conditions.toSorted((a, b) => Number(b.operator === '=') - Number(a.operator === '='))

const TABLES = { metric: 'latest_metrics', param: 'params', tag: 'tags' } as const

function conditionSql(condition: RunCondition, alias: string, looks: Looks, d: Dialect): Fragment {
  switch (condition.on) {
    case 'number-attribute':
      return ordered(column(`r.${condition.name}`), condition.operator, number(condition.value, d))
    case 'text-attribute':
      if (condition.name === 'run_name') return pairSql('tags', alias, 'mlflow.runName', condition, looks, d)
      return text(column(`r.${condition.name === 'run_id' ? 'run_uuid' : condition.name}`), condition, d)
    case 'metric': {
      const value = ordered(column(`${alias}.value`), condition.operator, d.real(condition.value))
      // NaN is stored as 0 with is_nan, and differs from every number.
      const nan = d.isTrue(column(`${alias}.is_nan`))
      const inRow = looks.row(column('latest_metrics'), alias, condition.key, d.join)
      return inRow(condition.operator === '!=' ? sql`(${value} OR ${nan})` : sql`(${value} AND NOT ${nan})`)
    }
    case 'param':
    case 'tag': {
      if (condition.operator === 'IS NULL' || condition.operator === 'IS NOT NULL') {
        const table = column(TABLES[condition.on])
        const has = looks.exists(sql`FROM ${table} t WHERE t.run_uuid = r.run_uuid AND t."key" = ${condition.key}`)
        return condition.operator === 'IS NULL' ? sql`NOT ${has}` : has
      }
      return pairSql(TABLES[condition.on], alias, condition.key, condition, looks, d)
    }
    case 'dataset':
      return datasetSql(condition, looks, d)
  }
}

function pairSql(table: string, alias: string, key: string, condition: TextCondition, looks: Looks, d: Dialect): Fragment {
  const inRow = looks.row(column(table), alias, key, d.join)
  return inRow(text(column(`${alias}.value`), condition, d))
}

function datasetSql(condition: Extract<RunCondition, { on: 'dataset' }>, looks: Looks, d: Dialect): Fragment {
  const edge = sql`FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id`
  const ofRun = sql`i.destination_type = 'RUN' AND i.destination_id = r.run_uuid`
  if (condition.field !== 'context') {
    return looks.exists(sql`${edge} WHERE ${ofRun} AND ${text(column(`d.${condition.field}`), condition, d)}`)
  }
  const tag = sql`JOIN input_tags c ON c.input_uuid = i.input_uuid AND c.name = 'mlflow.data.context'`
  return looks.exists(sql`${edge} ${tag} WHERE ${ofRun} AND ${text(column('c.value'), condition, d)}`)
}

export type TextCondition =
  | { operator: '=' | '!=' | 'LIKE' | 'ILIKE' | 'IS NULL' | 'IS NOT NULL'; value?: string }
  | { operator: 'IN' | 'NOT IN'; value: string[] }

export function text(left: Fragment, { operator, value = '' }: TextCondition, d: Dialect): Fragment {
  if (Array.isArray(value)) return operator === 'NOT IN' ? sql`NOT (${d.oneOf(left, value)})` : d.oneOf(left, value)
  if (operator === 'LIKE' || operator === 'ILIKE') {
    checkPattern(value)
    return d.like(left, value, operator === 'LIKE')
  }
  return operator === '!=' ? sql`NOT (${d.equal(left, value)})` : d.equal(left, value)
}

export const ordered = (left: Fragment, operator: string, right: Fragment) =>
  sql`${left} ${sql.raw(operator === '!=' ? '<>' : operator)} ${right}`

const number = (value: bigint | number, d: Dialect) => (typeof value === 'bigint' ? sql`${value}` : d.real(value))

/** Missing values come last in both directions; of metrics, numbers come first, then NaN. */
function orderSql(term: RunOrder, alias: string, looks: Looks, d: Dialect): Fragment[] {
  if (term.by === 'attribute') {
    const name = term.name === 'run_id' ? 'run_uuid' : term.name === 'run_name' ? 'name' : term.name
    const value = column(`r.${name}`)
    const isNumber = term.name === 'start_time' || term.name === 'end_time'
    return [d.ordered(isNumber ? value : d.textOrder(value), term.ascending, 'last')]
  }
  const inRow = looks.row(column(TABLES[term.by]), alias, term.key, 'LEFT JOIN')
  const value = inRow(column(`${alias}.value`))
  if (term.by !== 'metric') return [d.ordered(d.textOrder(value), term.ascending, 'last')]
  const rank = sql`CASE WHEN ${d.isTrue(column(`${alias}.is_nan`))} THEN 1 WHEN ${column(`${alias}.value`)} IS NULL THEN 2 ELSE 0 END`
  return [sql`coalesce(${inRow(rank)}, 2)`, sql`${value} ${sql.raw(term.ascending ? 'ASC' : 'DESC')}`]
}
