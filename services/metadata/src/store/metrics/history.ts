import { type Caller, throwIfEnded } from '@millrace/kit/call-context'
import { temporarilyUnavailable } from '@millrace/kit/errors'
import { sql } from 'kysely'
import type { Dialect, Fragment } from '../dialects/dialect.ts'
import type { Reads } from '../shapes/reads.ts'
import type { Column, JsonInteger } from '../shapes/shape.ts'

/** Logged points, column by column; the value of NaN is null. Run ids are there where several runs were asked for. */
export type PointColumns = [values: (number | null)[], timestamps: JsonInteger[], steps: JsonInteger[], runIds?: string[]]

/** Points a part at a time; other work runs in between. */
export type Points = AsyncIterable<PointColumns>

export interface HistoryRange {
  runId: string
  key: string
  /** Points to skip and to read; all without a limit. */
  offset: number
  limit?: number
}

/** Sampled steps, both inclusive. */
interface StepRange {
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

/** A point is some 35 characters: four histories of a million points. */
const HELD_CHARACTERS_MAX = 128 * 1024 * 1024
const RETRY_AFTER_SECONDS = 5

/** What has been read of histories and not been handed out: clients may take their time. */
class HeldTexts {
  #characters = 0

  /** Until it is disposed. @throws TEMPORARILY_UNAVAILABLE when it would be too much beside what is held for others. */
  hold(characters: number): Disposable {
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
    const where = sql`m.run_uuid = ${runId} AND m."key" = ${key}`
    const order = sql`m.timestamp, m.step, m.value`
    const select = sql`${SELECT} WHERE ${where} ORDER BY ${order} ${this.#reads.dialect.page(limit, offset)}`
    return this.#read(select, { caller, withRun: false })
  }

  /** Points of several runs by run, timestamp, step and value. */
  ofRuns(runIds: readonly string[], key: string, limit: number, caller?: Caller): Points {
    const d = this.#reads.dialect
    const where = sql`${d.oneOf(sql`m.run_uuid`, runIds)} AND m."key" = ${key}`
    const order = sql`${d.textOrder(sql`m.run_uuid`)}, m.timestamp, m.step, m.value`
    return this.#read(sql`${SELECT} WHERE ${where} ORDER BY ${order} ${d.page(limit)}`, { caller })
  }

  /**
   * At most `count` points of each run in the order of `runIds`, spread evenly over its points by (step, timestamp, value): the first
   * of each of `count` equal parts, and always the last point. One statement samples all runs.
   */
  sampled({ runIds, key, count, steps }: Sample, caller?: Caller): Points {
    return this.#read(sampleSql(runIds, key, count, steps, this.#reads.dialect), { caller })
  }

  async *#read(points: Fragment, { caller, withRun = true }: { caller?: Caller; withRun?: boolean }): AsyncGenerator<PointColumns> {
    const read = await this.#reads.blocks(points, withRun ? [...POINT, 'm.run_uuid'] : POINT, caller)
    using _held = this.#held.hold(read.characters)
    for await (const block of read.blocks()) {
      throwIfEnded(caller)
      yield block as PointColumns
    }
  }
}

const POINT: readonly Column[] = [{ real: 'm.value', isNan: 'm.is_nan' }, { integer: 'm.timestamp' }, { integer: 'm.step' }]
const SELECT = sql`SELECT m.run_uuid, m.value, m.timestamp, m.step, m.is_nan FROM metrics m`

/** The last point stands in for the first of the last part where there are as many parts as points may be answered. */
function sampleSql(runIds: readonly string[], key: string, count: number, steps: StepRange | undefined, d: Dialect): Fragment {
  const range = steps ? sql` AND m.step >= ${steps.start} AND m.step <= ${steps.end}` : sql``
  const order = sql`PARTITION BY m.run_uuid ORDER BY m.step, m.timestamp, m.value, m.is_nan`
  return sql`
    WITH parted AS (
      SELECT m.run_uuid, m.value, m.timestamp, m.step, m.is_nan, NTILE(${sql.lit(count)}) OVER (${order}) AS part,
        ROW_NUMBER() OVER (${order}) AS place, COUNT(*) OVER (PARTITION BY m.run_uuid) AS points
      FROM metrics m WHERE ${d.oneOf(sql`m.run_uuid`, runIds)} AND m."key" = ${key}${range}
    ), sampled AS (
      SELECT parted.*, ROW_NUMBER() OVER (PARTITION BY run_uuid, part ORDER BY place) AS nth FROM parted
    )
    SELECT m.run_uuid, m.value, m.timestamp, m.step, m.is_nan FROM sampled m
    JOIN ${d.numberedIds(runIds)} ids ON ids.id = m.run_uuid
    WHERE (m.nth = 1 AND NOT (m.part = ${sql.lit(count)} AND m.place < m.points)) OR m.place = m.points
    ORDER BY ids.n, m.place`
}
