import { setImmediate as pause } from 'node:timers/promises'
import type { Caller } from '@millrace/kit/call-context'
import type { Lookup } from '../dialects/postgresql/lookups.ts'
import type { Reads } from '../reads.ts'
import { type PageJob, type PageRead, parsed, SLICE_ROWS_MAX } from '../slices.ts'
import {
  type DatasetInputRecord,
  type LoggedModelEdgeRecord,
  type PageColumns,
  type RunInfoRecord,
  type RunRecord,
  runStatements,
  type WholeRunRecord,
} from './records.ts'
import { type RunSearch, searchRunsSql } from './search.ts'

/** A run with its edges. */
export interface RunAggregate {
  run: RunRecord
  datasetInputs: readonly DatasetInputRecord[]
  loggedModelEdges: readonly LoggedModelEdgeRecord[]
}

export interface RunPage {
  /** The page's runs in order, a slice at a time; other work runs in between. */
  slices(): AsyncIterable<RunAggregate[]>
  /** Whether another run follows the page. */
  more: boolean
  /** The page's last run and the text of its start time. */
  last?: readonly [runId: string, startTime: string | null]
}

const NONE: readonly never[] = []

/** Reads whole runs: what the database holds of them, their latest metrics, params, tags and edges. */
export class RunReader {
  readonly #reads: Reads
  readonly #whole: Lookup
  readonly #follow: PageJob['follow']

  constructor(reads: Reads) {
    this.#reads = reads
    const { whole, runs, datasetInputs, loggedModelEdges, columns } = runStatements(reads.dialect)
    this.#whole = reads.lookup({ sql: whole, name: 'millrace_whole_run' })
    this.#follow = [runs, datasetInputs, loggedModelEdges, ...columns].map((sql, i) => ({ sql, name: `millrace_run_page_${i}` }))
  }

  /** A run in any lifecycle stage. */
  async get(runId: string, caller?: Caller): Promise<RunAggregate | undefined> {
    const text = await this.#whole(runId, caller)
    if (text === undefined) return undefined
    const [info, metrics, params, tags, datasetInputs, loggedModelEdges] = JSON.parse(text) as WholeRunRecord
    return { run: [info, metrics, params, tags], datasetInputs, loggedModelEdges }
  }

  /** A page of at most `pageSize` runs. */
  async search(search: Omit<RunSearch, 'limit'>, pageSize: number, caller?: Caller): Promise<RunPage> {
    if (search.experimentIds.length === 0) return { slices: noSlices, more: false }
    const ids = this.#reads.compile(searchRunsSql({ ...search, limit: pageSize + 1 }, this.#reads.dialect))
    const page = await this.#reads.page({ ids, pageSize, follow: this.#follow }, caller)
    return { slices: () => aggregates(page), more: page.more, last: page.ids.at(-1) }
  }
}

async function* noSlices(): AsyncGenerator<RunAggregate[]> {}

async function* aggregates({ ids, parts }: PageRead): AsyncGenerator<RunAggregate[]> {
  const [runs = [], datasetInputs = [], loggedModelEdges = [], ...columns] = parts
  const datasetsOf = await collect<DatasetInputRecord>(datasetInputs, record => record[0][0])
  const edgesOf = await collect<LoggedModelEdgeRecord>(loggedModelEdges, record => record[0])
  const records = columns.length > 0 ? assembled(ids, runs, columns) : inOrder(ids, runs)
  for await (const slice of records) {
    yield slice.map(run => ({ run, datasetInputs: datasetsOf.get(run[0][0]) ?? NONE, loggedModelEdges: edgesOf.get(run[0][0]) ?? NONE }))
  }
}

async function collect<T>(slices: readonly string[], runIdOf: (record: T) => string): Promise<Map<string, T[]>> {
  const found = new Map<string, T[]>()
  for await (const slice of parsed<T>(slices)) {
    for (const record of slice) {
      const list = found.get(runIdOf(record))
      if (list) list.push(record)
      else found.set(runIdOf(record), [record])
    }
  }
  return found
}

/** Runs in the order of the page's ids from their rows and the columns of all their metrics, params and tags. */
async function* assembled(
  ids: PageRead['ids'],
  runs: readonly string[],
  columns: readonly (readonly string[])[],
): AsyncGenerator<RunRecord[]> {
  const found = new Map<string, RunRecord>()
  for await (const slice of parsed<RunInfoRecord>(runs)) {
    for (const info of slice) found.set(info[0], [info, [[], [], [], []], [[], []], [[], []]])
  }
  const places = ids.map(([id]) => found.get(id))
  for (const [i, texts] of columns.entries()) {
    for await (const slice of parsed<PageColumns>(texts)) {
      for (const [rows, ...values] of slice) fill(places, (i + 1) as 1 | 2 | 3, rows, values)
    }
  }
  const records = places.filter(record => record !== undefined)
  for (let at = 0; at < records.length; at += SLICE_ROWS_MAX) {
    if (at > 0) await pause()
    yield records.slice(at, at + SLICE_ROWS_MAX)
  }
}

/** Hands the values of one text out to their runs; a run's rows lie together more often than not. */
function fill(runs: readonly (RunRecord | undefined)[], member: 1 | 2 | 3, places: readonly number[], values: readonly unknown[][]): void {
  for (let from = 0, to = 0; from < places.length; from = to) {
    const place = places[from] ?? 0
    while (places[to] === place) to++
    const target: (unknown[] | null)[] | undefined = runs[place - 1]?.[member]
    if (!target) continue
    for (const [column, list] of values.entries()) {
      const part = list.slice(from, to)
      target[column] = target[column]?.length ? [...target[column], ...part] : part
    }
  }
}

/** Runs in the order of the page's ids. SQLite answers in that order; another database may not, and then the whole page is sorted. */
async function* inOrder(ids: PageRead['ids'], slices: readonly string[]): AsyncGenerator<RunRecord[]> {
  let at = 0
  let sorted = true
  const seen: RunRecord[] = []
  for await (const slice of parsed<RunRecord>(slices)) {
    sorted &&= slice.every((run, i) => run[0][0] === ids[at + i]?.[0])
    at += slice.length
    if (sorted) yield slice
    else seen.push(...slice)
  }
  if (seen.length === 0) return
  const place = new Map(ids.map(([id], i) => [id, i]))
  yield seen.sort((a, b) => (place.get(a[0][0]) ?? 0) - (place.get(b[0][0]) ?? 0))
}
