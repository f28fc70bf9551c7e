import type { Query } from './db.ts'
import { isLater, type KeyValue, type LogEntry, type MetricPoint, type NewRun, runNameTag } from './run-writes.ts'

interface Kinds {
  metrics: boolean
  params: boolean
  tags: boolean
  name: boolean
}

/** One prepared statement for each combination of what a group logs. */
const statements = new Map<string, { sql: string; name: string }>()

/** The query for a group of entries; two entries of one run are both in it only when neither has params. */
export function logQuery<R>(entries: readonly LogEntry[]): Query<R> {
  const kinds = {
    metrics: entries.some(entry => entry.metrics.length > 0),
    params: entries.some(entry => entry.params.length > 0),
    tags: entries.some(entry => entry.tags.length > 0),
    name: entries.some(entry => entry.tags.some(tag => tag.key === runNameTag)),
  }
  const name = `millrace_log_${Number(kinds.metrics)}${Number(kinds.params)}${Number(kinds.tags)}${Number(kinds.name)}`
  let found = statements.get(name)
  if (!found) {
    found = { sql: logSql(kinds), name }
    statements.set(name, found)
  }
  return { ...found, parameters: logValues(entries, kinds) }
}

/**
 * Rows are written for the runs that are `live`: active, and without a param of another value. Latest metrics, params and tags are
 * written in the order of their keys, so that two writers take their locks in the same order. A row of the answer per run that exists.
 */
function logSql(kinds: Kinds): string {
  let last = 0
  // Behind a SELECT the planner can't count what is in a list, and keeps one plan: it would make a new one for each count, at the
  // price of 150 microseconds, more than half of what a metric costs.
  const unnest = (...types: string[]) => `unnest(${types.map(type => `(SELECT $${++last}::${type}[])`).join(', ')})`
  const points = () =>
    `${unnest('text', 'text', 'float8', 'bigint', 'bigint', 'bool')} AS m (run_uuid, key, value, timestamp, step, is_nan)`
  const pairs = () => `${unnest('text', 'text', 'text')} AS p (run_uuid, key, value)`
  // A look for each run, which OFFSET 0 keeps: the plan outlives the size of the table that it was made for.
  const look = 'LATERAL (SELECT run_uuid, lifecycle_stage FROM runs WHERE run_uuid = id OFFSET 0)'
  const parts = [`run AS (SELECT found.* FROM ${unnest('text')} id CROSS JOIN ${look} found)`]
  const answer = ['run_uuid', 'lifecycle_stage']
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
    answer.push(
      `(SELECT json_agg(json_build_array(p.key, p.old)) ${changed}) AS conflicts`,
      '((SELECT count(*) FROM param p JOIN live USING (run_uuid) WHERE p.old IS NULL) - (SELECT count(*) FROM put_params))::int AS overtaken',
    )
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
    parts.push(`put_names AS (UPDATE runs r SET name = tag.value FROM tag WHERE tag.key = '${runNameTag}' AND r.run_uuid = tag.run_uuid)`)
  }
  return `WITH ${parts.join(', ')} SELECT ${answer.join(', ')} FROM run`
}

type Column = unknown[]

/** In the order in which `logSql` numbers its parameters. */
function logValues(entries: readonly LogEntry[], kinds: Kinds): Column[] {
  const metrics: Column[] = [[], [], [], [], [], []]
  const latest: Column[] = [[], [], [], [], [], []]
  const params: Column[] = [[], [], []]
  const tags: Column[] = [[], [], []]
  const latestByRun = new Map<string, Map<string, MetricPoint>>()
  const tagsByRun = new Map<string, Map<string, KeyValue>>()
  for (const entry of entries) {
    const { runId } = entry
    if (entry.metrics.length > 0) collectLatest(byRun(latestByRun, runId), entry.metrics)
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

function collectLatest(latest: Map<string, MetricPoint>, metrics: readonly MetricPoint[]): void {
  for (const metric of metrics) {
    const known = latest.get(metric.key)
    if (!known || isLater(metric, known)) latest.set(metric.key, metric)
  }
}

function pushMetric(columns: Column[], runId: string, { key, value, timestamp, step, isNan }: MetricPoint): void {
  columns[0]?.push(runId)
  columns[1]?.push(key)
  columns[2]?.push(value)
  columns[3]?.push(timestamp)
  columns[4]?.push(step)
  columns[5]?.push(isNan)
}

function pushPair(columns: Column[], runId: string, { key, value }: KeyValue): void {
  columns[0]?.push(runId)
  columns[1]?.push(key)
  columns[2]?.push(value)
}

/** Only runs whose experiment is active and has still the artifact location that was read before are made; the answer names them. */
export const createRunsSql =
  'WITH input AS (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::int[], $7::text[]) ' +
  'AS i (run_uuid, name, user_id, start_time, artifact_uri, experiment_id, location)), ' +
  'put AS (INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, source_version, ' +
  "lifecycle_stage, artifact_uri, experiment_id) SELECT i.run_uuid, i.name, 'UNKNOWN', '', '', i.user_id, 'RUNNING', i.start_time, '', " +
  "'active', i.artifact_uri, i.experiment_id FROM input i JOIN experiments e ON e.experiment_id = i.experiment_id AND " +
  "e.lifecycle_stage = 'active' AND e.artifact_location IS NOT DISTINCT FROM i.location RETURNING run_uuid), " +
  'put_tags AS (INSERT INTO tags (run_uuid, key, value) SELECT t.run_uuid, t.key, t.value FROM unnest($8::text[], $9::text[], $10::text[]) ' +
  'WITH ORDINALITY AS t (run_uuid, key, value, place) JOIN put USING (run_uuid) ORDER BY t.place) SELECT run_uuid FROM put'

export function createRunsValues(runs: readonly (NewRun & { location: string | null; uri: string })[]): Column[] {
  const tags: Column[] = [[], [], []]
  for (const run of runs) for (const tag of run.tags) pushPair(tags, run.runId, tag)
  return [
    runs.map(run => run.runId),
    runs.map(run => run.name),
    runs.map(run => run.userId),
    runs.map(run => run.startTime),
    runs.map(run => run.uri),
    runs.map(run => run.experimentId),
    runs.map(run => run.location),
    ...tags,
  ]
}

const runColumns = ['run_uuid', 'name', 'user_id', 'status', 'start_time', 'end_time', 'lifecycle_stage', 'artifact_uri', 'experiment_id']

/** Parameters: run, status, end time, name; null leaves as it is. No row when the run is not there or not active. */
export const updateRunSql =
  'WITH changed AS (UPDATE runs SET status = coalesce($2, status), end_time = coalesce($3::bigint, end_time), name = coalesce($4, name) ' +
  `WHERE run_uuid = $1 AND lifecycle_stage = 'active' RETURNING ${runColumns.join(', ')}), ` +
  `named AS (INSERT INTO tags (key, value, run_uuid) SELECT '${runNameTag}', $4, run_uuid FROM changed WHERE $4 IS NOT NULL ` +
  'ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value) SELECT * FROM changed'
