import type { Children, JsonInteger, Shape } from '../shapes/shape.ts'

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

/** A run with its edges. */
export type RunRecord = [
  info: RunInfoRecord,
  metrics: MetricColumns,
  params: TextColumns,
  tags: TextColumns,
  datasetInputs: readonly DatasetInputRecord[],
  loggedModelEdges: readonly LoggedModelEdgeRecord[],
]

const pairs = (table: string): Children => ({ table: `${table} t`, parent: 't.run_uuid', columns: ['t."key"', 't.value'], as: 'columns' })

/** What is read of a run: a RunRecord. */
export const RUN: Shape = {
  name: 'run',
  table: 'runs r',
  key: 'r.run_uuid',
  ids: 'text',
  columns: [
    'r.run_uuid',
    'r.name',
    'r.user_id',
    'r.status',
    { integer: 'r.start_time' },
    { integer: 'r.end_time' },
    'r.lifecycle_stage',
    'r.artifact_uri',
    'r.experiment_id',
  ],
  children: [
    {
      ...pairs('latest_metrics'),
      columns: ['t."key"', { real: 't.value', isNan: 't.is_nan' }, { integer: 't.timestamp' }, { integer: 't.step' }],
    },
    pairs('params'),
    pairs('tags'),
    {
      table: 'inputs i',
      join: 'JOIN datasets d ON d.dataset_uuid = i.source_id',
      where: "i.destination_type = 'RUN'",
      parent: 'i.destination_id',
      columns: [
        'i.destination_id',
        'd.dataset_uuid',
        'd.name',
        'd.digest',
        'd.dataset_source_type',
        'd.dataset_source',
        'd.dataset_schema',
        'd.dataset_profile',
      ],
      order: { inserted: 'i' },
      as: 'few',
      children: { of: 'i.input_uuid', table: 'input_tags t', parent: 't.input_uuid', columns: ['t.name', 't.value'] },
    },
    {
      table: 'inputs i',
      where:
        "((i.source_type = 'RUN_OUTPUT' AND i.destination_type = 'MODEL_OUTPUT') OR " +
        "(i.source_type = 'RUN_INPUT' AND i.destination_type = 'MODEL_INPUT'))",
      parent: 'i.source_id',
      columns: ['i.source_id', 'i.destination_id', { integer: 'i.step' }, 'i.source_type'],
      // The order in which MLflow's database finds them, by its primary key.
      order: { bytes: 'i.destination_id' },
      as: 'few',
    },
  ],
}
