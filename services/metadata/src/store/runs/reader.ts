import type { Caller } from '@millrace/kit/call-context'
import type { Page, Reads } from '../shapes/reads.ts'
import { RUN, type RunRecord } from './records.ts'
import { type RunSearch, searchRunsSql } from './search.ts'

/** Reads whole runs: what the database holds of them, their latest metrics, params, tags and edges. */
export class RunReader {
  readonly #reads: Reads

  constructor(reads: Reads) {
    this.#reads = reads
  }

  /** A run in any lifecycle stage. */
  get(runId: string, caller?: Caller): Promise<RunRecord | undefined> {
    return this.#reads.one(RUN, runId, caller)
  }

  /** A page of at most `pageSize` runs; the sort key of its ids is the text of the run's start time. */
  async search(search: RunSearch, pageSize: number, caller?: Caller): Promise<Page<RunRecord>> {
    if (search.experimentIds.length === 0) return { ids: [], more: false, slices: noSlices }
    return this.#reads.page(RUN, searchRunsSql(search, pageSize + 1, this.#reads), pageSize, caller)
  }
}

async function* noSlices(): AsyncGenerator<RunRecord[]> {}
