import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { AnyDatabase, Executor } from './db.ts'
import { activeRun } from './runs/checks.ts'
import type { Fragment } from './search-dialect.ts'

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
  readonly #db: AnyDatabase

  constructor(db: AnyDatabase) {
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
      const key = JSON.stringify([dataset.name, dataset.digest])
      if (!unique.has(key)) unique.set(key, dataset)
    }
    return this.#db.transaction(async tx => {
      const experimentId = await activeRun(this.#db, tx, runId)
      // Sorted, so that two writers meet the experiment's data sets in one order.
      for (const key of [...unique.keys()].sort()) await this.#addDataset(tx, experimentId, unique.get(key) as DatasetEdge)
      for (const dataset of unique.values()) await this.#addEdge(tx, runId, experimentId, dataset)
      for (const modelId of modelIds) {
        await this.#run(
          tx,
          sql`INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step)
            VALUES (${newId()}, 'RUN_INPUT', ${runId}, 'MODEL_INPUT', ${modelId}, 0) ON CONFLICT DO NOTHING`,
        )
      }
    })
  }

  /** Adds models that a run made. @throws BAD_REQUEST when the run has one of them already. */
  logOutputs(runId: string, models: readonly LoggedModelOutputEdge[]): Promise<void> {
    return this.#db.transaction(async tx => {
      await activeRun(this.#db, tx, runId)
      for (const { modelId, step } of models) {
        await this.#run(
          tx,
          sql`INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step)
            VALUES (${newId()}, 'RUN_OUTPUT', ${runId}, 'MODEL_OUTPUT', ${modelId}, ${step})`,
        )
      }
    })
  }

  #addDataset(tx: Executor, experimentId: bigint, d: DatasetEdge): Promise<number> {
    return this.#run(
      tx,
      sql`INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source, dataset_schema, dataset_profile)
        VALUES (${newId()}, ${experimentId}, ${d.name}, ${d.digest}, ${d.sourceType}, ${d.source}, ${d.schema}, ${d.profile})
        ON CONFLICT (experiment_id, name, digest) DO NOTHING`,
    )
  }

  async #addEdge(tx: Executor, runId: string, experimentId: bigint, { name, digest, tags }: DatasetEdge): Promise<void> {
    const edgeId = newId()
    const added = await this.#run(
      tx,
      sql`INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step)
        SELECT ${edgeId}, 'DATASET', dataset_uuid, 'RUN', ${runId}, 0 FROM datasets
        WHERE experiment_id = ${experimentId} AND name = ${name} AND digest = ${digest}
        ON CONFLICT (source_type, source_id, destination_type, destination_id) DO NOTHING`,
    )
    if (added === 0) return
    for (const [key, value] of tags) {
      await this.#run(tx, sql`INSERT INTO input_tags (input_uuid, name, value) VALUES (${edgeId}, ${key}, ${value})`)
    }
  }

  #run(tx: Executor, fragment: Fragment): Promise<number> {
    return tx.run(fragment.compile(this.#db.kysely))
  }
}
