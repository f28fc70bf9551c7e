import { sql } from 'kysely'
import type { Reads } from './reads.ts'
import type { JsonInteger } from './run-sql.ts'
import type { Fragment, SearchDialect } from './search-dialect.ts'
import type { Slices } from './slices.ts'

/** One logged point. Integers that a double cannot hold exactly are texts. */
export type PointRecord = [runId: string, value: number, timestamp: JsonInteger, step: JsonInteger, isNan: boolean | 0 | 1]

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

const LIMIT_NONE = 2n ** 63n - 1n

/** Reads the points logged for a metric: PointRecords, in slices. */
export class MetricHistory {
  readonly #reads: Reads

  constructor(reads: Reads) {
    this.#reads = reads
  }

  /** One run's points by timestamp, step and value. */
  ofRun({ runId, key, offset, limit }: HistoryRange): Promise<Slices> {
    const where = sql`m.run_uuid = ${runId} AND m.key = ${key}`
    return this.#read(
      sql`${this.#select()} WHERE ${where} ORDER BY m.timestamp, m.step, m.value LIMIT ${limit ?? LIMIT_NONE} OFFSET ${offset}`,
    )
  }

  /** Points of several runs by run, timestamp, step and value. */
  ofRuns(runIds: readonly string[], key: string, limit: number): Promise<Slices> {
    const d = this.#reads.dialect
    const where = sql`${d.oneOf(sql`m.run_uuid`, runIds)} AND m.key = ${key}`
    return this.#read(
      sql`${this.#select()} WHERE ${where} ORDER BY ${d.textOrder(sql`m.run_uuid`)}, m.timestamp, m.step, m.value LIMIT ${limit}`,
    )
  }

  /**
   * At most `count` points of each run in the order of `runIds`, spread evenly over its points by (step, timestamp, value): the first
   * of each of `count` equal parts, and always the last point. One statement samples all runs.
   */
  sampled(runIds: readonly string[], key: string, count: number, steps?: StepRange): Promise<Slices> {
    return this.#read(sampleSql(runIds, key, count, steps, this.#reads.dialect))
  }

  #select(): Fragment {
    return sql`SELECT ${sql.raw(pointText(this.#reads.dialect))} AS json FROM metrics m`
  }

  #read(fragment: Fragment): Promise<Slices> {
    return this.#reads.rows(this.#reads.compile(fragment))
  }
}

const pointText = (d: SearchDialect) => d.point('m.run_uuid', 'm.value', ['m.timestamp', 'm.step'], 'm.is_nan')

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
    SELECT ${sql.raw(pointText(d))} AS json FROM sampled m
    JOIN ${d.numberedIds(runIds)} ids ON ids.id = m.run_uuid
    WHERE (m.nth = 1 AND NOT (m.part = ${sql.lit(count)} AND m.place < m.points)) OR m.place = m.points
    ORDER BY ids.n, m.place`
}
