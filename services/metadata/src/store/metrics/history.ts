import { type Caller, throwIfEnded } from '@millrace/kit/call-context'
import { temporarilyUnavailable } from '@millrace/kit/errors'
import { sql } from 'kysely'
import type { Reads } from '../reads.ts'
import type { JsonInteger } from '../runs/records.ts'
import type { Fragment, SearchDialect } from '../search-dialect.ts'
import { parsed, type Slices } from '../slices.ts'

/** Logged points, column by column; the value of NaN is null. Run ids are there where several runs were asked for. */
export type PointColumns = [values: (number | null)[], timestamps: JsonInteger[], steps: JsonInteger[], runIds?: string[]]

/** Points a part at a time; other work runs in between. */
export type Points = AsyncIterable<PointColumns>

/** A point as SQLite answers it. */
type PointRecord = [value: number, timestamp: JsonInteger, step: JsonInteger, isNan: 0 | 1, runId: string]

export interface HistoryRange {
  runId: string
  key: string
  /** Points to skip and to read; all without a limit. */
  offset: number
  limit?: number
}

/** Sampled steps, both inclusive. */
export interface StepRange {
  start: bigint
  end: bigint
}

export interface Sample {
  runIds: readonly string[]
  key: string
  /** Of each run. */
  count: number
  steps?: StepRange
}

const LIMIT_NONE = 2n ** 63n - 1n

/** A point is some 35 characters: four histories of a million points. */
const HELD_CHARACTERS_MAX = 128 * 1024 * 1024
const RETRY_AFTER_SECONDS = 5

/** What has been read of histories and not been handed out: clients may take their time. */
class HeldTexts {
  #characters = 0

  /** Until it is disposed. @throws TEMPORARILY_UNAVAILABLE when it would be too much beside what is held for others. */
  hold(texts: Slices): Disposable {
    const characters = texts.reduce((sum, text) => sum + text.length, 0)
    if (this.#characters > 0 && this.#characters + characters > HELD_CHARACTERS_MAX) {
      throw temporarilyUnavailable('The server is busy with other metric histories', { retryAfterSeconds: RETRY_AFTER_SECONDS })
    }
    this.#characters += characters
    return {
      [Symbol.dispose]: () => {
        this.#characters -= characters
      },
    }
  }
}

/** Reads the points logged for a metric. */
export class MetricHistory {
  readonly #reads: Reads
  readonly #held = new HeldTexts()

  constructor(reads: Reads) {
    this.#reads = reads
  }

  /** One run's points by timestamp, step and value. */
  ofRun({ runId, key, offset, limit }: HistoryRange, caller?: Caller): Points {
    const where = sql`m.run_uuid = ${runId} AND m.key = ${key}`
    const order = sql`m.timestamp, m.step, m.value`
    return this.#read(sql`${SELECT} WHERE ${where} ORDER BY ${order} LIMIT ${limit ?? LIMIT_NONE} OFFSET ${offset}`, {
      caller,
      withRun: false,
    })
  }

  /** Points of several runs by run, timestamp, step and value. */
  ofRuns(runIds: readonly string[], key: string, limit: number, caller?: Caller): Points {
    const d = this.#reads.dialect
    const where = sql`${d.oneOf(sql`m.run_uuid`, runIds)} AND m.key = ${key}`
    const order = sql`${d.textOrder(sql`m.run_uuid`)}, m.timestamp, m.step, m.value`
    return this.#read(sql`${SELECT} WHERE ${where} ORDER BY ${order} LIMIT ${limit}`, { caller })
  }

  /**
   * At most `count` points of each run in the order of `runIds`, spread evenly over its points by (step, timestamp, value): the first
   * of each of `count` equal parts, and always the last point. One statement samples all runs.
   */
  sampled({ runIds, key, count, steps }: Sample, caller?: Caller): Points {
    return this.#read(sampleSql(runIds, key, count, steps, this.#reads.dialect), { caller })
  }

  async *#read(points: Fragment, { caller, withRun = true }: { caller?: Caller; withRun?: boolean }): AsyncGenerator<PointColumns> {
    const { dialect } = this.#reads
    if (dialect.pointColumns) {
      const texts = await this.#reads.rows(this.#reads.compile(dialect.pointColumns(points, withRun)), caller)
      using _held = this.#held.hold(texts)
      for await (const slice of parsed<PointColumns>(texts)) {
        throwIfEnded(caller)
        yield* slice
      }
      return
    }
    const statement = this.#reads.compile(sql`SELECT ${sql.raw(pointText(dialect, withRun))} AS json FROM (${points}) m`)
    const texts = await this.#reads.rows({ ...statement, long: true }, caller)
    using _held = this.#held.hold(texts)
    for await (const slice of parsed<PointRecord>(texts)) {
      throwIfEnded(caller)
      yield columnsOf(slice)
    }
  }
}

const SELECT = sql`SELECT m.run_uuid, m.value, m.timestamp, m.step, m.is_nan FROM metrics m`

const pointText = (d: SearchDialect, withRun: boolean) =>
  d.jsonArray('m.value', ...['m.timestamp', 'm.step'].map(d.jsonInteger), 'm.is_nan', ...(withRun ? ['m.run_uuid'] : []))

const columnsOf = (points: readonly PointRecord[]): PointColumns => [
  points.map(([value, , , isNan]) => (isNan ? null : value)),
  points.map(([, timestamp]) => timestamp),
  points.map(([, , step]) => step),
  points.map(([, , , , runId]) => runId),
]

/** The last point stands in for the first of the last part where there are as many parts as points may be answered. */
function sampleSql(runIds: readonly string[], key: string, count: number, steps: StepRange | undefined, d: SearchDialect): Fragment {
  const range = steps ? sql` AND m.step >= ${steps.start} AND m.step <= ${steps.end}` : sql``
  const order = sql`PARTITION BY m.run_uuid ORDER BY m.step, m.timestamp, m.value, m.is_nan`
  return sql`
    WITH parted AS (
      SELECT m.run_uuid, m.value, m.timestamp, m.step, m.is_nan, NTILE(${sql.lit(count)}) OVER (${order}) AS part,
        ROW_NUMBER() OVER (${order}) AS place, COUNT(*) OVER (PARTITION BY m.run_uuid) AS points
      FROM metrics m WHERE ${d.oneOf(sql`m.run_uuid`, runIds)} AND m.key = ${key}${range}
    ), sampled AS (
      SELECT parted.*, ROW_NUMBER() OVER (PARTITION BY run_uuid, part ORDER BY place) AS nth FROM parted
    )
    SELECT m.run_uuid, m.value, m.timestamp, m.step, m.is_nan FROM sampled m
    JOIN ${d.numberedIds(runIds)} ids ON ids.id = m.run_uuid
    WHERE (m.nth = 1 AND NOT (m.part = ${sql.lit(count)} AND m.place < m.points)) OR m.place = m.points
    ORDER BY ids.n, m.place`
}
