import type { Query } from '../../db.ts'
import { type LogEntry, type NewRun, RUN_NAME_TAG, type RunChange, type RunRow } from '../../runs/writes.ts'
import { type Column, type LogKinds, logKinds, logParts, logValues, pushPair } from './log-sql.ts'
import { Parameters } from './parameters.ts'

/** A new run with the artifact location that its experiment had before, and its own. */
export interface NewRunAt extends NewRun {
  location: string | null
  uri: string
}

/** What a group does, all of it in one statement; at most one change, whose run nothing else in the group is about. */
export interface RunGroup {
  creates: readonly NewRunAt[]
  change: RunChange | undefined
  /** Two of one run only when neither has params. */
  logs: readonly LogEntry[]
}

/** The answer has a row for each run that was made, for the one that was changed, and for each that exists of those logged to. */
export interface RunAnswer {
  run_uuid: string
  /** Of a run that was logged to. */
  lifecycle_stage: string | null
  /** [key, old value] of the params that have another value already. */
  conflicts?: [string, string][] | null
  /** Params of the whole group that another process wrote in the same moment. */
  overtaken?: number | null
  /** The columns of the run that was changed. */
  changed?: (string | null)[] | null
}

interface Kinds extends LogKinds {
  creates: boolean
  change: boolean
  logs: boolean
}

/** One prepared statement for each combination of what a group does. */
const statements = new Map<string, { sql: string; name: string }>()

/** The query that does all of a group. */
export function groupQuery(group: RunGroup): Query<RunAnswer> {
  const { creates, change, logs } = group
  const kinds = kindsOf(group)
  const name = `millrace_runs_${Object.values(kinds).map(Number).join('')}`
  let found = statements.get(name)
  if (!found) {
    found = { sql: groupSql(kinds), name }
    statements.set(name, found)
  }
  const parameters = [
    ...(kinds.creates ? createValues(creates) : []),
    ...(kinds.change ? [change?.runId ?? null, change?.status ?? null, change?.endTime ?? null, change?.name || null] : []),
    ...(kinds.logs ? logValues(logs, kinds) : []),
  ]
  return { ...found, parameters }
}

/**
 * What the statement can do. A group that does one thing has a statement for that, and any mixture but a rename the same one: planning
 * one costs milliseconds on each connection, doing nothing with a part of it costs microseconds.
 */
function kindsOf({ creates, change, logs }: RunGroup): Kinds {
  const kinds = { creates: creates.length > 0, change: change !== undefined, logs: logs.length > 0, ...logKinds(logs) }
  if (Number(kinds.creates) + Number(kinds.change) + Number(kinds.logs) === 1) return kinds
  return { creates: true, change: true, logs: true, metrics: true, params: true, tags: true, name: kinds.name }
}

function groupSql(kinds: Kinds): string {
  const parameters = new Parameters()
  const parts: string[] = []
  const answers: string[] = []
  const answer = (source: string, lifecycleStage = 'NULL', conflicts = 'NULL', overtaken = 'NULL', changed = 'NULL') => {
    const columns = ['run_uuid', `${lifecycleStage}::text AS lifecycle_stage`]
    if (kinds.params) columns.push(`${conflicts}::json AS conflicts`, `${overtaken}::int AS overtaken`)
    if (kinds.change) columns.push(`${changed}::text[] AS changed`)
    answers.push(`SELECT ${columns.join(', ')} FROM ${source}`)
  }
  if (kinds.creates) {
    parts.push(...createParts(parameters))
    answer('put')
  }
  if (kinds.change) {
    parts.push(...changeParts(parameters))
    answer('changed', 'NULL', 'NULL', 'NULL', `ARRAY[${RUN_COLUMNS.map(column => `${column}::text`).join(', ')}]`)
  }
  if (kinds.logs) {
    const log = logParts(parameters, kinds)
    parts.push(...log.parts)
    answer('run', 'lifecycle_stage', log.conflicts, log.overtaken)
  }
  return `WITH ${parts.join(', ')} ${answers.join(' UNION ALL ')}`
}

const RUN_COLUMNS = [
  'run_uuid',
  'name',
  'user_id',
  'status',
  'start_time',
  'end_time',
  'lifecycle_stage',
  'artifact_uri',
  'experiment_id',
] as const satisfies readonly (keyof RunRow)[]

/**
 * Only runs whose experiment is active and has still the artifact location that was read before are made. FOR SHARE keeps it so until
 * they are there: a deletion of the experiment comes after them and takes them along, or before them.
 */
function createParts(parameters: Parameters): string[] {
  const runs = parameters.unnest('text', 'text', 'text', 'bigint', 'text', 'int', 'text')
  const tags = parameters.unnest('text', 'text', 'text')
  return [
    `input AS (SELECT * FROM ${runs} AS i (run_uuid, name, user_id, start_time, artifact_uri, experiment_id, location))`,
    'put AS (INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, source_version, ' +
      "lifecycle_stage, artifact_uri, experiment_id) SELECT i.run_uuid, i.name, 'UNKNOWN', '', '', i.user_id, 'RUNNING', i.start_time, '', " +
      "'active', i.artifact_uri, i.experiment_id FROM input i CROSS JOIN LATERAL (SELECT FROM experiments e WHERE " +
      "e.experiment_id = i.experiment_id AND e.lifecycle_stage = 'active' AND e.artifact_location IS NOT DISTINCT FROM i.location OFFSET 0 FOR SHARE) e " +
      'RETURNING run_uuid)',
    `first_tags AS (INSERT INTO tags (run_uuid, key, value) SELECT t.run_uuid, t.key, t.value FROM ${tags} ` +
      'WITH ORDINALITY AS t (run_uuid, key, value, place) JOIN put USING (run_uuid) ORDER BY t.place)',
  ]
}

function createValues(runs: readonly NewRunAt[]): Column[] {
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

/** One run by its id, since a list could be joined by reading the whole table. Null leaves as it is; only an active run changes. */
function changeParts(parameters: Parameters): string[] {
  // Behind a SELECT as lists are: a null that the planner sees makes a cheaper plan, which it would then make each time.
  const [id, status, endTime, name] = ['text', 'text', 'bigint', 'text'].map(type => `(SELECT ${parameters.next(type)})`)
  return [
    `changed AS (UPDATE runs SET status = coalesce(${status}, status), end_time = coalesce(${endTime}, end_time), ` +
      `name = coalesce(${name}, name) WHERE run_uuid = ${id} AND lifecycle_stage = 'active' RETURNING ${RUN_COLUMNS.join(', ')})`,
    `named AS (INSERT INTO tags (key, value, run_uuid) SELECT '${RUN_NAME_TAG}', ${name}, run_uuid FROM changed WHERE ${name} IS NOT NULL ` +
      'ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value)',
  ]
}

/** From the column `changed` of an answer. */
export function changedRow(columns: readonly (string | null)[]): RunRow {
  const row = Object.fromEntries(RUN_COLUMNS.map((column, i) => [column, columns[i] ?? null]))
  const integer = (text: unknown) => (text === null ? null : BigInt(text as string))
  return {
    ...row,
    start_time: integer(row.start_time),
    end_time: integer(row.end_time),
    experiment_id: Number(row.experiment_id),
  } as RunRow
}
