import type { ColumnSource, SearchDialect } from '../search-dialect.ts'

/** One run of a page, from a JSON text. */
export type RunRecord = [info: RunInfoRecord, metrics: MetricColumns, params: TextColumns, tags: TextColumns]
/** Integers that a double cannot hold exactly are texts. */
export type JsonInteger = number | string
export type RunInfoRecord = [
  runId: string,
  name: string | null,
  userId: string | null,
  status: string,
  startTime: JsonInteger | null,
  endTime: JsonInteger | null,
  lifecycleStage: string,
  artifactUri: string | null,
  experimentId: JsonInteger,
]
/** Column by column; the value of NaN is null. Columns without rows are empty or null. */
export type MetricColumns = [
  keys: string[] | null,
  values: (number | null)[] | null,
  timestamps: JsonInteger[] | null,
  steps: JsonInteger[] | null,
]
/** Values of many runs, column by column. */
export type PageColumns = [places: number[], ...columns: unknown[][]]
export type TextColumns = [keys: string[] | null, values: (string | null)[] | null]
export type TextRecord = [key: string, value: string | null]

/** A data set that went into a run, with the tags of that edge. */
export type DatasetInputRecord = [
  dataset: [
    runId: string,
    datasetId: string,
    name: string,
    digest: string,
    sourceType: string,
    source: string,
    schema: string | null,
    profile: string | null,
  ],
  tags: TextRecord[],
]
/** An edge between a run and a model. */
export type LoggedModelEdgeRecord = [runId: string, modelId: string, step: JsonInteger, type: 'RUN_INPUT' | 'RUN_OUTPUT']

/** A run with its edges, from a JSON text. */
export type WholeRunRecord = [...RunRecord, datasetInputs: DatasetInputRecord[], loggedModelEdges: LoggedModelEdgeRecord[]]

/** The statements that read runs by id; they answer rows of a JSON text. */
export interface RunStatements {
  /** Runs with their edges, for a Lookup. */
  whole: string
  /** The others take the ids of a page, a JSON list. */
  runs: string
  /** Where `runs` answers without them: metrics, params and tags of the page, with the run's place in it as the first column. */
  columns: readonly string[]
  datasetInputs: string
  loggedModelEdges: string
}

/**
 * The database makes the JSON: a page of 1,000 runs with 26 values each comes as 1,000 texts, in 12 ms on SQLite, and a text moves
 * between threads for the price of a copy, where 26,000 rows cost more to hand over than to read. Columns instead of rows of values
 * are a third cheaper to make for PostgreSQL and a quarter cheaper to parse.
 */
export function runStatements(d: SearchDialect): RunStatements {
  const info = d.jsonArray(
    'r.run_uuid',
    'r.name',
    'r.user_id',
    'r.status',
    d.jsonInteger('r.start_time'),
    d.jsonInteger('r.end_time'),
    'r.lifecycle_stage',
    'r.artifact_uri',
    'r.experiment_id',
  )
  const ofRun = (table: string) => `FROM ${table} t WHERE t.run_uuid = r.run_uuid`
  const keyed: ColumnSource[] = [{ text: 't.key' }, { text: 't.value' }]
  const points: ColumnSource[] = [
    { text: 't.key' },
    { real: 't.value', isNan: 't.is_nan' },
    { integer: 't.timestamp' },
    { integer: 't.step' },
  ]
  const run = [
    info,
    d.jsonColumns(points, ofRun('latest_metrics')),
    d.jsonColumns(keyed, ofRun('params')),
    d.jsonColumns(keyed, ofRun('tags')),
  ]
  const inputTags = d.jsonRows(d.jsonArray('t.name', 't.value'), 'FROM input_tags t WHERE t.input_uuid = i.input_uuid')
  const dataset = d.jsonArray(
    'i.destination_id',
    'd.dataset_uuid',
    'd.name',
    'd.digest',
    'd.dataset_source_type',
    'd.dataset_source',
    'd.dataset_schema',
    'd.dataset_profile',
  )
  const edge = d.jsonArray('i.source_id', 'i.destination_id', d.jsonInteger('i.step'), 'i.source_type')
  const datasets = "i.destination_type = 'RUN' AND i.destination_id"
  const edges = (id: string) =>
    `i.source_id = ${id} AND ((i.source_type = 'RUN_OUTPUT' AND i.destination_type = 'MODEL_OUTPUT') OR ` +
    `(i.source_type = 'RUN_INPUT' AND i.destination_type = 'MODEL_INPUT'))`
  const join = 'JOIN datasets d ON d.dataset_uuid = i.source_id'
  const order = d.inserted('i')
  // The order in which MLflow's database finds them, by its primary key.
  const edgeOrder = d.byBytes('i.destination_id')
  const whole = [
    ...run,
    d.jsonRows(d.jsonArray(dataset, d.json(inputTags)), `FROM inputs i ${join} WHERE ${datasets} = r.run_uuid`, order),
    d.jsonRows(edge, `FROM inputs i WHERE ${edges('r.run_uuid')}`, edgeOrder),
  ]
  const ids = `${d.pageIds} ${d.join}`
  const { pageColumns } = d
  const columns = pageColumns && [pageColumns(points, 'latest_metrics'), pageColumns(keyed, 'params'), pageColumns(keyed, 'tags')]
  return {
    whole: d.runsById(`${d.jsonText(...whole)} AS json`),
    runs: `SELECT ${columns ? d.asText(info) : d.jsonText(...run)} AS json FROM ${ids} runs r ON r.run_uuid = id`,
    columns: columns ?? [],
    datasetInputs: `SELECT ${d.jsonText(dataset, inputTags)} AS json FROM ${ids} inputs i ON ${datasets} = id ${join} ORDER BY ${order}`,
    loggedModelEdges: `SELECT ${d.asText(edge)} AS json FROM ${ids} inputs i ON ${edges('id')} ORDER BY ${edgeOrder}`,
  }
}
