import { randomUUID } from 'node:crypto'
import { doesNotExist } from '@millrace/kit/errors'
import { sql } from 'kysely'
import { appendToUriPath } from './artifact-uri.ts'
import type { AnyDatabase, Executor } from './db.ts'
import { checkActive, type Experiments } from './experiments.ts'
import type { Reads } from './reads.ts'
import { randomRunName } from './run-names.ts'
import type { JsonInteger, TextRecord } from './run-sql.ts'
import { type ModelSearch, searchModelsSql } from './search-models.ts'
import { parsed } from './slices.ts'

/** A logged model, from a JSON text. */
export type ModelRecord = [
  info: [
    modelId: string,
    experimentId: number,
    name: string,
    artifactLocation: string,
    createdMs: JsonInteger,
    updatedMs: JsonInteger,
    status: number,
    modelType: string | null,
    sourceRunId: string | null,
    statusMessage: string | null,
  ],
  params: TextRecord[],
  tags: TextRecord[],
  metrics: ModelMetricRecord[],
]
export type ModelMetricRecord = [
  key: string,
  value: number,
  timestamp: JsonInteger,
  step: JsonInteger,
  runId: string,
  datasetName: string | null,
  datasetDigest: string | null,
]

export interface NewModel {
  /** A generated name when empty. */
  name: string
  modelType: string
  sourceRunId: string
  params: readonly (readonly [key: string, value: string])[]
  tags: readonly (readonly [key: string, value: string])[]
}

const PENDING = 1

/** Logged models with their params, tags and metrics. */
export class LoggedModels {
  readonly #db: AnyDatabase
  readonly #experiments: Experiments
  readonly #reads: Reads
  readonly #select: string

  constructor(db: AnyDatabase, reads: Reads, experiments: Experiments) {
    this.#db = db
    this.#experiments = experiments
    this.#reads = reads
    this.#select = selectSql(reads)
  }

  /** @throws RESOURCE_DOES_NOT_EXIST for an unknown experiment, INVALID_PARAMETER_VALUE for a deleted one. */
  async create(experimentId: string, model: NewModel): Promise<ModelRecord> {
    const experiment = await this.#experiments.get(experimentId)
    checkActive(experiment)
    const modelId = `m-${randomUUID().replaceAll('-', '')}`
    const location = appendToUriPath(experiment.artifact_location ?? '', 'models', modelId, 'artifacts')
    const owner = { model_id: modelId, experiment_id: experiment.experiment_id }
    const now = Date.now()
    const { kysely } = this.#db
    await this.#db.transaction(async tx => {
      const values = {
        ...owner,
        name: model.name || randomRunName(),
        artifact_location: location,
        creation_timestamp_ms: now,
        last_updated_timestamp_ms: now,
        status: PENDING,
        lifecycle_stage: 'active',
        model_type: model.modelType,
        source_run_id: model.sourceRunId,
      }
      await tx.run(kysely.insertInto('logged_models').values(values).compile())
      const params = model.params.map(([param_key, param_value]) => ({ ...owner, param_key, param_value }))
      const tags = model.tags.map(([tag_key, tag_value]) => ({ ...owner, tag_key, tag_value }))
      if (params.length > 0) await tx.run(kysely.insertInto('logged_model_params').values(params).compile())
      if (tags.length > 0) await tx.run(kysely.insertInto('logged_model_tags').values(tags).compile())
    })
    return this.get(modelId)
  }

  /** An active model. @throws RESOURCE_DOES_NOT_EXIST */
  get(modelId: string): Promise<ModelRecord> {
    return this.#find(this.#db, modelId)
  }

  /** Active models in the order asked for. */
  async search(search: ModelSearch): Promise<ModelRecord[]> {
    const statement = this.#reads.compile(searchModelsSql(this.#select, search, this.#reads.dialect))
    const models: ModelRecord[] = []
    for await (const slice of parsed<ModelRecord>(await this.#reads.rows(statement))) models.push(...slice)
    return models
  }

  /** Sets the status of an active model. @throws RESOURCE_DOES_NOT_EXIST */
  async finalize(modelId: string, status: number): Promise<ModelRecord> {
    return this.#db.transaction(async tx => {
      await tx.run(
        sql`UPDATE logged_models SET status = ${status}, last_updated_timestamp_ms = ${Date.now()}
          WHERE model_id = ${modelId} AND lifecycle_stage = 'active'`.compile(this.#db.kysely),
      )
      return this.#find(tx, modelId)
    })
  }

  async #find(on: Executor, modelId: string): Promise<ModelRecord> {
    const query = sql<{ json: string }>`${sql.raw(this.#select)} WHERE m.model_id = ${modelId} AND m.lifecycle_stage <> 'deleted'`
    const row = await on.get(query.compile(this.#db.kysely))
    if (!row) throw doesNotExist(`Logged model with ID '${modelId}' not found.`)
    return JSON.parse(row.json) as ModelRecord
  }
}

function selectSql({ dialect: d }: Reads): string {
  const info = d.jsonArray(
    'm.model_id',
    'm.experiment_id',
    'm.name',
    'm.artifact_location',
    d.jsonInteger('m.creation_timestamp_ms'),
    d.jsonInteger('m.last_updated_timestamp_ms'),
    'm.status',
    'm.model_type',
    'm.source_run_id',
    'm.status_message',
  )
  const of = (table: string, row: string) => d.jsonRows(row, `FROM ${table} t WHERE t.model_id = m.model_id`)
  const metric = d.jsonArray(
    't.metric_name',
    't.metric_value',
    d.jsonInteger('t.metric_timestamp_ms'),
    d.jsonInteger('t.metric_step'),
    't.run_id',
    't.dataset_name',
    't.dataset_digest',
  )
  const params = of('logged_model_params', d.jsonArray('t.param_key', 't.param_value'))
  const tags = of('logged_model_tags', d.jsonArray('t.tag_key', 't.tag_value'))
  return `SELECT ${d.jsonText(info, params, tags, of('logged_model_metrics', metric))} AS json FROM logged_models m`
}
