import { sql } from 'kysely'
import { isText } from '../../search/logged-model-columns.ts'
import type { LoggedModelCondition } from '../../search/logged-model-filter.ts'
import type { LoggedModelOrder } from '../../search/logged-model-order.ts'
import type { Dialect, Fragment } from '../dialects/dialect.ts'
import { ordered, text } from '../runs/search.ts'
import { Looks } from '../shapes/looks.ts'

/** Points logged with this data set; without a digest those that have none, as in MLflow. */
export interface PointDataset {
  name: string
  digest: string | undefined
}

export interface LoggedModelSearch {
  experimentIds: readonly bigint[]
  conditions: readonly LoggedModelCondition[]
  /** When there are any, metrics are looked for among the points of these only; without conditions on metrics, any such point will do. */
  datasets: readonly PointDataset[]
  order: readonly LoggedModelOrder[]
  offset: number
}

const column = (name: string) => sql.raw(name)

/** The ids of active models in order, for a page: the newest first after what `order` asks for. */
export function searchLoggedModelsSql(search: LoggedModelSearch, limit: number, d: Dialect): Fragment {
  const looks = new Looks(d)
  const datasets = datasetsSql(search.datasets)
  const where = [
    sql`m.lifecycle_stage <> 'deleted'`,
    d.oneOfIds(column('m.experiment_id'), search.experimentIds),
    ...search.conditions.map(condition => conditionSql(condition, datasets, looks, d)),
  ]
  if (search.datasets.length > 0 && !search.conditions.some(one => one.on === 'metric')) where.push(pointSql(datasets, looks))
  const order = search.order.map(term => orderSql(term, d))
  order.push(sql`m.creation_timestamp_ms DESC`, sql`${d.textOrder(column('m.model_id'))} ASC`)
  return sql`SELECT m.model_id AS id, NULL AS sort_key FROM logged_models m WHERE ${sql.join(where, sql` AND `)}
    ORDER BY ${sql.join(order)} ${d.page(limit, search.offset)}`
}

function conditionSql(condition: LoggedModelCondition, datasets: Fragment, looks: Looks, d: Dialect): Fragment {
  switch (condition.on) {
    case 'time':
      return ordered(column(`m.${condition.column}`), condition.operator, d.real(condition.value))
    case 'attribute': {
      const value = column(`m.${condition.column}`)
      return text(isText(condition.column) ? value : d.text(value), condition, d)
    }
    case 'metric':
      return pointSql(
        sql`AND t.metric_name = ${condition.key} AND ${ordered(column('t.metric_value'), condition.operator, d.real(condition.value))} ${datasets}`,
        looks,
      )
    case 'param':
    case 'tag': {
      const { on, key } = condition
      const value = text(column(`t.${on}_value`), condition, d)
      return looks.exists(
        sql`FROM ${column(`logged_model_${on}s`)} t WHERE t.model_id = m.model_id AND ${column(`t.${on}_key`)} = ${key} AND ${value}`,
      )
    }
  }
}

/** Whether the model has a point, any of its history. */
const pointSql = (conditions: Fragment, looks: Looks) =>
  looks.exists(sql`FROM logged_model_metrics t WHERE t.model_id = m.model_id ${conditions}`)

function datasetsSql(datasets: readonly PointDataset[]): Fragment {
  if (datasets.length === 0) return sql``
  const each = datasets.map(({ name, digest }) => {
    const version = digest === undefined ? sql`t.dataset_digest IS NULL` : sql`t.dataset_digest = ${digest}`
    return sql`(t.dataset_name = ${name} AND ${version})`
  })
  return sql`AND (${sql.join(each, sql` OR `)})`
}

/** Missing values come last in both directions. */
function orderSql(term: LoggedModelOrder, d: Dialect): Fragment {
  if (term.by === 'attribute') {
    const value = column(`m.${term.column}`)
    return d.ordered(isText(term.column) ? d.textOrder(value) : value, term.ascending, 'last')
  }
  const name = term.datasetName ? sql`AND o.dataset_name = ${term.datasetName}` : sql``
  const digest = term.datasetDigest ? sql`AND o.dataset_digest = ${term.datasetDigest}` : sql``
  const latest = sql`(SELECT o.metric_value FROM logged_model_metrics o
    WHERE o.model_id = m.model_id AND o.metric_name = ${term.key} ${name} ${digest}
    ORDER BY o.metric_timestamp_ms DESC, o.metric_step DESC, ${d.textOrder(column('o.run_id'))} ASC ${d.page(1)})`
  return d.ordered(latest, term.ascending, 'last')
}
