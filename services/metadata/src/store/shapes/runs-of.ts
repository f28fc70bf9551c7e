import { sql } from 'kysely'
import type { Dialect } from '../dialects/dialect.ts'
import type { RunSource } from './reads.ts'

export const runsOf = (d: Dialect, experimentIds: readonly bigint[]): RunSource => ({
  from: sql`runs r`,
  where: d.oneOfIds(sql`r.experiment_id`, experimentIds),
  startTime: sql`r.start_time`,
})
