import { randomUUID } from 'node:crypto'
import type { Caller } from '@millrace/kit/call-context'
import { doesNotExist } from '@millrace/kit/errors'
import { sql } from 'kysely'
import { repr } from '../../search/python.ts'
import { appendToUriPath } from '../artifact-uri.ts'
import type { AnyDatabase, Executor } from '../db.ts'
import type { Experiments } from '../experiments/experiments.ts'
import type { Reads } from '../reads.ts'
import { randomRunName } from '../runs/names.ts'
import type { JsonInteger, TextRecord } from '../runs/records.ts'
import type { Fragment, SearchDialect } from '../search-dialect.ts'
import { type PageJob, parsed } from '../slices.ts'
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
  readonly #db: AnyDatabase
  readonly #experiments: Experiments
  readonly #reads: Reads
  readonly #select: string
  readonly #page: PageJob['follow']

  constructor(db: AnyDatabase, reads: Reads, experiments: Experiments) {
    this.#db = db
    this.#experiments = experiments
    this.#reads = reads
    const { dialect } = reads
    this.#select = `SELECT ${jsonSql(dialect)} AS json FROM logged_models m`
    const page = `SELECT ${jsonSql(dialect)} AS json FROM ${dialect.pageIds} ${dialect.join} logged_models m ON m.model_id = id`
    this.#page = [{ sql: page, name: 'millrace_model_page' }]
  }

  /** @throws RESOURCE_DOES_NOT_EXIST for an unknown experiment, INVALID_PARAMETER_VALUE for a deleted one. */
  async create(experimentId: string, model: NewLoggedModel): Promise<LoggedModelRecord> {
    const modelId = `m-${randomUUID().replaceAll('-', '')}`
    const now = Date.now()
    const { kysely } = this.#db
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
      await tx.run(kysely.insertInto('logged_models').values(values).compile())
      const params = model.params.map(([param_key, param_value]) => ({ ...owner, param_key, param_value }))
      const tags = model.tags.map(([tag_key, tag_value]) => ({ ...owner, tag_key, tag_value }))
      await inParts(params, part => tx.run(kysely.insertInto('logged_model_params').values(part).compile()))
      await inParts(tags, part => tx.run(kysely.insertInto('logged_model_tags').values(part).compile()))
    })
    return this.get(modelId)
  }

  /** An active model, or one in any stage. @throws RESOURCE_DOES_NOT_EXIST */
  get(modelId: string, anyStage = false): Promise<LoggedModelRecord> {
    return this.#find(this.#db, modelId, anyStage ? sql`` : sql`AND m.lifecycle_stage <> 'deleted'`)
  }

  /** A page of active models in order, and whether more follow. */
  async search(search: LoggedModelSearch, pageSize: number, caller?: Caller): Promise<{ models: LoggedModelRecord[]; more: boolean }> {
    const ids = this.#reads.compile(searchLoggedModelsSql(search, pageSize + 1, this.#reads.dialect))
    const page = await this.#reads.page({ ids, pageSize, follow: this.#page }, caller)
    const found = new Map<string, LoggedModelRecord>()
    for await (const slice of parsed<LoggedModelRecord>(page.parts[0] ?? [])) for (const model of slice) found.set(model[0][0], model)
    return { models: page.ids.map(([id]) => found.get(id)).filter(model => model !== undefined), more: page.more }
  }

  /** Sets the status of a model in any stage. @throws RESOURCE_DOES_NOT_EXIST */
  async finalize(modelId: string, status: number): Promise<LoggedModelRecord> {
    return this.#db.transaction(async tx => {
      await this.#change(tx, modelId, sql`status = ${status}`)
      return this.#find(tx, modelId)
    })
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
      const insert = this.#db.kysely
        .insertInto('logged_model_tags')
        .onConflict(on => on.columns(['model_id', 'tag_key']).doUpdateSet(to => ({ tag_value: to.ref('excluded.tag_value') })))
      await inParts(rows, part => tx.run(insert.values(part).compile()))
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
      await inParts(rows, part => tx.run(this.#db.kysely.insertInto('logged_model_params').values(part).compile()))
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

  async #find(on: Executor, modelId: string, condition = sql``): Promise<LoggedModelRecord> {
    const query = sql<{ json: string }>`${sql.raw(this.#select)} WHERE m.model_id = ${modelId} ${condition}`
    const row = await on.get(query.compile(this.#db.kysely))
    if (!row) throw loggedModelAbsent(modelId)
    return JSON.parse(row.json) as LoggedModelRecord
  }
}

/** SQLite takes 32,766 parameters in one statement, PostgreSQL 65,535. */
const ROWS_AT_ONCE = 5000

async function inParts<T>(rows: readonly T[], write: (part: T[]) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < rows.length; at += ROWS_AT_ONCE) await write(rows.slice(at, at + ROWS_AT_ONCE))
}

/** The text of a LoggedModelRecord of the row `m`. */
function jsonSql(d: SearchDialect): string {
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
  return d.jsonText(info, params, tags, of('logged_model_metrics', metric))
}
