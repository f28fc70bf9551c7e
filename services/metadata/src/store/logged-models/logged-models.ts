import { randomUUID } from 'node:crypto'
import type { Caller } from '@millrace/kit/call-context'
import { doesNotExist } from '@millrace/kit/errors'
import { sql } from 'kysely'
import { repr } from '../../search/python.ts'
import { appendToUriPath } from '../artifact-uri.ts'
import { type Database, type Executor, runEach } from '../db.ts'
import type { Fragment } from '../dialects/dialect.ts'
import type { Experiments } from '../experiments/experiments.ts'
import { randomRunName } from '../runs/names.ts'
import type { TextRecord } from '../runs/records.ts'
import type { Reads } from '../shapes/reads.ts'
import type { JsonInteger, Shape } from '../shapes/shape.ts'
import { loggedModelAbsent } from './errors.ts'
import { type LoggedModelSearch, searchLoggedModelsSql } from './search.ts'

/** A logged model, from a JSON text. */
export type LoggedModelRecord = [
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
    lifecycleStage: string,
  ],
  params: TextRecord[],
  tags: TextRecord[],
  metrics: LoggedModelMetricRecord[],
]
export type LoggedModelMetricRecord = [
  key: string,
  /** NaN is null or a text. */
  value: number | string | null,
  timestamp: JsonInteger,
  step: JsonInteger,
  runId: string,
  datasetName: string | null,
  datasetDigest: string | null,
]

export interface NewLoggedModel {
  /** A generated name when empty. */
  name: string
  modelType: string
  sourceRunId: string
  params: readonly Pair[]
  tags: readonly Pair[]
}

export type Pair = readonly [key: string, value: string]

const PENDING = 1

/** Logged models with their params, tags and metrics. */
export class LoggedModels {
  readonly #db: Database
  readonly #experiments: Experiments
  readonly #reads: Reads

  constructor(db: Database, reads: Reads, experiments: Experiments) {
    this.#db = db
    this.#experiments = experiments
    this.#reads = reads
  }

  /** @throws RESOURCE_DOES_NOT_EXIST for an unknown experiment, INVALID_PARAMETER_VALUE for a deleted one. */
  async create(experimentId: string, model: NewLoggedModel): Promise<LoggedModelRecord> {
    const modelId = `m-${randomUUID().replaceAll('-', '')}`
    const now = Date.now()
    const { dialect: d } = this.#db
    await this.#db.transaction(async tx => {
      const experiment = await this.#experiments.lockActive(tx, experimentId)
      const location = appendToUriPath(experiment.artifact_location ?? '', 'models', modelId, 'artifacts')
      const owner = { model_id: modelId, experiment_id: experiment.experiment_id }
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
      const params = model.params.map(([param_key, param_value]) => ({ ...owner, param_key, param_value }))
      const tags = model.tags.map(([tag_key, tag_value]) => ({ ...owner, tag_key, tag_value }))
      const inserts = [d.insert('logged_models', [values]), d.insert('logged_model_params', params), d.insert('logged_model_tags', tags)]
      await runEach(tx, inserts.flat(), this.#db)
    })
    return this.get(modelId)
  }

  /** An active model, or one in any stage. @throws RESOURCE_DOES_NOT_EXIST */
  async get(modelId: string, anyStage = false): Promise<LoggedModelRecord> {
    const found = await this.#reads.one<LoggedModelRecord>(LOGGED_MODEL, modelId)
    if (!found || (found[0][STAGE] === 'deleted' && !anyStage)) throw loggedModelAbsent(modelId)
    return found
  }

  /** A page of active models in order, and whether more follow. */
  async search(search: LoggedModelSearch, pageSize: number, caller?: Caller): Promise<{ models: LoggedModelRecord[]; more: boolean }> {
    const ids = searchLoggedModelsSql(search, pageSize + 1, this.#reads.dialect)
    const page = await this.#reads.page<LoggedModelRecord>(LOGGED_MODEL, ids, pageSize, caller)
    const models: LoggedModelRecord[] = []
    for await (const slice of page.slices()) models.push(...slice)
    return { models, more: page.more }
  }

  /** Sets the status of a model in any stage. @throws RESOURCE_DOES_NOT_EXIST */
  async finalize(modelId: string, status: number): Promise<LoggedModelRecord> {
    await this.#db.transaction(tx => this.#change(tx, modelId, sql`status = ${status}`))
    return this.get(modelId, true)
  }

  /** Marks a model in any stage as deleted now. @throws RESOURCE_DOES_NOT_EXIST */
  delete(modelId: string): Promise<void> {
    return this.#db.transaction(tx => this.#change(tx, modelId, sql`lifecycle_stage = 'deleted'`))
  }

  /** Of equal keys the last counts. @throws RESOURCE_DOES_NOT_EXIST */
  setTags(modelId: string, tags: readonly Pair[]): Promise<void> {
    const last = [...new Map(tags)].sort(([a], [b]) => (a < b ? -1 : 1))
    return this.#db.transaction(async tx => {
      const owner = await this.#owner(tx, modelId)
      const rows = last.map(([tag_key, tag_value]) => ({ ...owner, tag_key, tag_value }))
      const upsert = this.#db.dialect.upsert({ table: 'logged_model_tags', key: ['model_id', 'tag_key'], rows })
      await runEach(tx, upsert, this.#db)
    })
  }

  /** @throws RESOURCE_DOES_NOT_EXIST for an unknown model, and for a tag that it doesn't have. */
  deleteTag(modelId: string, key: string): Promise<void> {
    return this.#db.transaction(async tx => {
      const { model_id } = await this.#owner(tx, modelId)
      const query = this.#db.kysely.deleteFrom('logged_model_tags').where('model_id', '=', model_id).where('tag_key', '=', key)
      if ((await tx.run(query.compile())) > 0) return
      throw doesNotExist(`No tag with key ${repr(key)} found for model with ID ${repr(modelId)}.`)
    })
  }

  /** @throws RESOURCE_DOES_NOT_EXIST for an unknown model, BAD_REQUEST for a param that it has already, or that comes twice. */
  addParams(modelId: string, params: readonly Pair[]): Promise<void> {
    return this.#db.transaction(async tx => {
      const owner = await this.#owner(tx, modelId)
      const rows = params.map(([param_key, param_value]) => ({ ...owner, param_key, param_value }))
      await runEach(tx, this.#db.dialect.insert('logged_model_params', rows), this.#db)
    })
  }

  async #change(tx: Executor, modelId: string, change: Fragment): Promise<void> {
    const query = sql`UPDATE logged_models SET ${change}, last_updated_timestamp_ms = ${Date.now()} WHERE model_id = ${modelId}`
    if ((await tx.run(query.compile(this.#db.kysely))) === 0) throw loggedModelAbsent(modelId)
  }

  /** What each row of a model names. */
  async #owner(tx: Executor, modelId: string): Promise<{ model_id: string; experiment_id: number }> {
    const query = this.#db.kysely.selectFrom('logged_models').select(['model_id', 'experiment_id']).where('model_id', '=', modelId)
    const owner = await tx.get(query.compile())
    if (!owner) throw loggedModelAbsent(modelId)
    return owner
  }
}

/** The place of the stage in a record's own columns. */
const STAGE = 10

const pairs = (of: 'param' | 'tag') =>
  ({ table: `logged_model_${of}s t`, parent: 't.model_id', columns: [`t.${of}_key`, `t.${of}_value`], as: 'rows' }) as const

/** What is read of a logged model: a LoggedModelRecord. */
const LOGGED_MODEL: Shape = {
  name: 'logged_model',
  table: 'logged_models m',
  key: 'm.model_id',
  ids: 'text',
  columns: [
    'm.model_id',
    'm.experiment_id',
    'm.name',
    'm.artifact_location',
    { integer: 'm.creation_timestamp_ms' },
    { integer: 'm.last_updated_timestamp_ms' },
    'm.status',
    'm.model_type',
    'm.source_run_id',
    'm.status_message',
    'm.lifecycle_stage',
  ],
  children: [
    pairs('param'),
    pairs('tag'),
    {
      table: 'logged_model_metrics t',
      parent: 't.model_id',
      columns: [
        't.metric_name',
        't.metric_value',
        { integer: 't.metric_timestamp_ms' },
        { integer: 't.metric_step' },
        't.run_id',
        't.dataset_name',
        't.dataset_digest',
      ],
      as: 'rows',
    },
  ],
}
