import { addLatest, type KeyValue, type LogEntry, type MetricPoint, RUN_NAME_TAG } from '../../runs/writes.ts'
import type { Parameters } from './parameters.ts'

export type Column = unknown[]

export interface LogKinds {
  metrics: boolean
  params: boolean
  tags: boolean
  name: boolean
}

export function logKinds(entries: readonly LogEntry[]): LogKinds {
  return {
    metrics: entries.some(entry => entry.metrics.length > 0),
    params: entries.some(entry => entry.params.length > 0),
    tags: entries.some(entry => entry.tags.length > 0),
    name: entries.some(entry => entry.tags.some(tag => tag.key === RUN_NAME_TAG)),
  }
}

/**
 * Rows are written for the runs that are `live`: active, and without a param of another value. Latest metrics, params and tags are
 * written in the order of their keys, so that two writers take their locks in the same order.
 * @returns the statement's parts, and where there are params what the answer says of them; `run` has the answer's rows.
 */
export function logParts(parameters: Parameters, kinds: LogKinds): { parts: string[]; conflicts: string; overtaken: string } {
  const unnest = (...types: string[]) => parameters.unnest(...types)
  const points = () =>
    `${unnest('text', 'text', 'float8', 'bigint', 'bigint', 'bool')} AS m (run_uuid, key, value, timestamp, step, is_nan)`
  const pairs = () => `${unnest('text', 'text', 'text')} AS p (run_uuid, key, value)`
  // A look for each run, which OFFSET 0 keeps: the plan outlives the size of the table that it was made for.
  const look = 'LATERAL (SELECT run_uuid, lifecycle_stage FROM runs WHERE run_uuid = id OFFSET 0)'
  const parts = [`run AS (SELECT found.* FROM ${unnest('text')} id CROSS JOIN ${look} found)`]
  let conflicts = ''
  let overtaken = ''
  const live = (condition: string) => parts.push(`live AS (SELECT run_uuid FROM run WHERE lifecycle_stage = 'active'${condition})`)
  if (kinds.params) {
    const changed = 'FROM param p WHERE p.run_uuid = run.run_uuid AND p.old <> p.value'
    // A join would read all of a table that has not been analysed yet.
    const old = '(SELECT e.value FROM params e WHERE e.key = p.key AND e.run_uuid = p.run_uuid)'
    parts.push(`param AS (SELECT p.*, ${old} AS old FROM ${pairs()})`)
    live(` AND NOT EXISTS (SELECT ${changed})`)
    parts.push(
      'put_params AS (INSERT INTO params (run_uuid, key, value) SELECT p.run_uuid, p.key, p.value FROM param p JOIN live USING (run_uuid) ' +
        'WHERE p.old IS NULL ORDER BY p.run_uuid, p.key ON CONFLICT DO NOTHING RETURNING 1)',
    )
    conflicts = `(SELECT json_agg(json_build_array(p.key, p.old)) ${changed})`
    overtaken = '((SELECT count(*) FROM param p JOIN live USING (run_uuid) WHERE p.old IS NULL) - (SELECT count(*) FROM put_params))::int'
  } else live('')
  if (kinds.metrics) {
    parts.push(
      `put_metrics AS (INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) SELECT m.* FROM ${points()} ` +
        'JOIN live USING (run_uuid) ON CONFLICT DO NOTHING)',
      `put_latest AS (INSERT INTO latest_metrics AS l (run_uuid, key, value, timestamp, step, is_nan) SELECT m.* FROM ${points()} ` +
        'JOIN live USING (run_uuid) ORDER BY m.run_uuid, m.key ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value, ' +
        'timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan ' +
        'WHERE (excluded.step, excluded.timestamp, excluded.value) > (l.step, l.timestamp, l.value))',
    )
  }
  if (kinds.tags) {
    parts.push(
      `tag AS (SELECT p.* FROM ${pairs()} JOIN live USING (run_uuid))`,
      'put_tags AS (INSERT INTO tags (run_uuid, key, value) SELECT run_uuid, key, value FROM tag ORDER BY run_uuid, key ' +
        'ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value)',
    )
  }
  if (kinds.name) {
    parts.push(`put_names AS (UPDATE runs r SET name = tag.value FROM tag WHERE tag.key = '${RUN_NAME_TAG}' AND r.run_uuid = tag.run_uuid)`)
  }
  return { parts, conflicts, overtaken }
}

/** In the order in which `logParts` numbers its parameters. */
export function logValues(entries: readonly LogEntry[], kinds: LogKinds): Column[] {
  const metrics: Column[] = [[], [], [], [], [], []]
  const latest: Column[] = [[], [], [], [], [], []]
  const params: Column[] = [[], [], []]
  const tags: Column[] = [[], [], []]
  const latestByRun = new Map<string, Map<string, MetricPoint>>()
  const tagsByRun = new Map<string, Map<string, KeyValue>>()
  for (const entry of entries) {
    const { runId } = entry
    if (entry.metrics.length > 0) addLatest(byRun(latestByRun, runId), entry.metrics)
    for (const metric of entry.metrics) pushMetric(metrics, runId, metric)
    for (const param of entry.params) pushPair(params, runId, param)
    for (const tag of entry.tags) byRun(tagsByRun, runId).set(tag.key, tag)
  }
  for (const [runId, points] of latestByRun) for (const point of points.values()) pushMetric(latest, runId, point)
  for (const [runId, pairs] of tagsByRun) for (const pair of pairs.values()) pushPair(tags, runId, pair)
  const runIds = [...new Set(entries.map(entry => entry.runId))]
  return [runIds, ...(kinds.params ? params : []), ...(kinds.metrics ? [...metrics, ...latest] : []), ...(kinds.tags ? tags : [])]
}

function byRun<T>(map: Map<string, Map<string, T>>, runId: string): Map<string, T> {
  let found = map.get(runId)
  if (!found) {
    found = new Map()
    map.set(runId, found)
  }
  return found
}

function pushMetric(columns: Column[], runId: string, { key, value, timestamp, step, isNan }: MetricPoint): void {
  columns[0]?.push(runId)
  columns[1]?.push(key)
  columns[2]?.push(value)
  columns[3]?.push(timestamp)
  columns[4]?.push(step)
  columns[5]?.push(isNan)
}

export function pushPair(columns: Column[], runId: string, { key, value }: KeyValue): void {
  columns[0]?.push(runId)
  columns[1]?.push(key)
  columns[2]?.push(value)
}
