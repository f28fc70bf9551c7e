import type { Caller } from '@millrace/kit/call-context'
import { sql } from 'kysely'
import type { Reads } from './shapes/reads.ts'

/** A data set that went into a run of an experiment, with the context of that use. */
export type DatasetSummaryRecord = [experimentId: number, name: string, digest: string, context: string | null]

/** Summaries answered at most; MLflow has no paging here. */
const SUMMARIES_MAX = 1000

const COLUMNS = ['m.experiment_id', 'm.name', 'm.digest', 'm.context']

/** The data sets of experiments. */
export class Datasets {
  readonly #reads: Reads

  constructor(reads: Reads) {
    this.#reads = reads
  }

  /** The distinct data sets that went into runs of these experiments, by experiment, name, digest and context; no context comes first. */
  async search(experimentIds: readonly bigint[], caller?: Caller): Promise<DatasetSummaryRecord[]> {
    const d = this.#reads.dialect
    const select = sql`SELECT * FROM (
      SELECT DISTINCT d.experiment_id, d.name, d.digest, t.value AS context FROM datasets d
      JOIN inputs i ON i.source_type = 'DATASET' AND i.source_id = d.dataset_uuid
      LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = 'mlflow.data.context'
      WHERE ${d.oneOfIds(sql`d.experiment_id`, experimentIds)}) s
      ORDER BY experiment_id, ${d.textOrder(sql`name`)}, ${d.textOrder(sql`digest`)},
        ${d.ordered(d.textOrder(sql`context`), true, 'first')} ${d.page(SUMMARIES_MAX)}`
    const found: DatasetSummaryRecord[] = []
    for await (const slice of this.#reads.rows<DatasetSummaryRecord>(select, COLUMNS, caller)) found.push(...slice)
    return found
  }
}
