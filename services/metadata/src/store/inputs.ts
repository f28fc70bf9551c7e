import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import { type Database, type Executor, runEach } from './db.ts'
import type { Fragment } from './dialects/dialect.ts'
import { activeRun } from './runs/checks.ts'

export interface DatasetEdge {
  name: string
  digest: string
  sourceType: string
  source: string
  schema: string | null
  profile: string | null
  tags: readonly (readonly [key: string, value: string])[]
}

export interface LoggedModelOutputEdge {
  modelId: string
  step: bigint
}

const newId = () => randomUUID().replaceAll('-', '')

/** Writes the edges between runs and the data sets and models that went in or came out. */
export class Inputs {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  /**
   * Adds what went into a run. A data set that its experiment knows by name and digest is reused as it is; an edge that is there
   * already stays, tags included.
   * @throws RESOURCE_DOES_NOT_EXIST for an unknown run, INVALID_PARAMETER_VALUE for a deleted one.
   */
  logInputs(runId: string, datasets: readonly DatasetEdge[], modelIds: readonly string[]): Promise<void> {
    const unique = new Map<string, DatasetEdge>()
    for (const dataset of datasets) {
      const key = keyOf(dataset)
      if (!unique.has(key)) unique.set(key, dataset)
    }
    // Sorted, so that two writers meet the experiment's data sets in one order.
    const sorted = [...unique.keys()].sort().map(key => unique.get(key) as DatasetEdge)
    const edges = [...new Set(modelIds)].map(modelId => edge('RUN_INPUT', runId, 'MODEL_INPUT', modelId))
    return this.#db.transaction(async tx => {
      const experimentId = await activeRun(this.#db, tx, runId)
      if (sorted.length > 0) {
        const ids = await this.#datasets(tx, experimentId, sorted)
        for (const [key, dataset] of unique) await this.#addDatasetEdge(tx, ids.get(key) as string, runId, dataset)
      }
      await this.#run(tx, this.#db.dialect.insertNew('inputs', EDGE_KEY, edges))
    })
  }

  /** Adds models that a run made. @throws BAD_REQUEST when the run has one of them already. */
  logOutputs(runId: string, models: readonly LoggedModelOutputEdge[]): Promise<void> {
    const rows = models.map(({ modelId, step }) => edge('RUN_OUTPUT', runId, 'MODEL_OUTPUT', modelId, step))
    return this.#db.transaction(async tx => {
      await activeRun(this.#db, tx, runId)
      await this.#run(tx, this.#db.dialect.insert('inputs', rows))
    })
  }

  /** The ids of the experiment's data sets by name and digest; those that it doesn't know are added. */
  async #datasets(tx: Executor, experimentId: bigint, datasets: readonly DatasetEdge[]): Promise<Map<string, string>> {
    const { dialect, kysely } = this.#db
    const rows = datasets.map(({ name, digest, sourceType, source, schema, profile }) => ({
      dataset_uuid: newId(),
      experiment_id: experimentId,
      name,
      digest,
      dataset_source_type: sourceType,
      dataset_source: source,
      dataset_schema: schema,
      dataset_profile: profile,
    }))
    await this.#run(tx, dialect.insertNew('datasets', ['experiment_id', 'name', 'digest'], rows))
    const names = dialect.oneOf(
      sql`name`,
      datasets.map(({ name }) => name),
    )
    const digests = dialect.oneOf(
      sql`digest`,
      datasets.map(({ digest }) => digest),
    )
    const select = sql<{ dataset_uuid: string; name: string; digest: string }>`
      SELECT dataset_uuid, name, digest FROM datasets WHERE experiment_id = ${experimentId} AND ${names} AND ${digests}`
    return new Map((await tx.all(select.compile(kysely))).map(row => [keyOf(row), row.dataset_uuid]))
  }

  async #addDatasetEdge(tx: Executor, datasetId: string, runId: string, { tags }: DatasetEdge): Promise<void> {
    const { dialect } = this.#db
    const row = edge('DATASET', datasetId, 'RUN', runId)
    if ((await this.#run(tx, dialect.insertNew('inputs', EDGE_KEY, [row]))) === 0) return
    const rows = tags.map(([name, value]) => ({ input_uuid: row.input_uuid, name, value }))
    await this.#run(tx, dialect.insert('input_tags', rows))
  }

  #run(tx: Executor, statements: readonly Fragment[]): Promise<number> {
    return runEach(tx, statements, this.#db)
  }
}

const EDGE_KEY = ['source_type', 'source_id', 'destination_type', 'destination_id']

const edge = (source_type: string, source_id: string, destination_type: string, destination_id: string, step = 0n) => ({
  input_uuid: newId(),
  source_type,
  source_id,
  destination_type,
  destination_id,
  step,
})

const keyOf = ({ name, digest }: Pick<DatasetEdge, 'name' | 'digest'>) => JSON.stringify([name, digest])
