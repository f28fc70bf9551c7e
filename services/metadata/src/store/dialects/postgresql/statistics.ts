import type { Database } from '../../db.ts'

/** Shortest time between two looks at the TABLES, ms; a look is 0.3 ms of PostgreSQL. */
const LOOK_INTERVAL_MS = 5_000
/** A table has outgrown its statistics when so many rows, and this part of those counted last, came to it: autovacuum's own measure. */
const GROWN_ROWS_MIN = 500
const GROWN_PART = 0.1

/** What searches of runs and of logged models join. */
const TABLES = [
  'runs',
  'latest_metrics',
  'params',
  'tags',
  'inputs',
  'input_tags',
  'datasets',
  'logged_models',
  'logged_model_metrics',
  'logged_model_params',
  'logged_model_tags',
]

/** Only the owner can have a table analysed. */
const GROWN_TABLES = {
  sql: `SELECT c.oid::regclass::text AS name FROM pg_class c
    WHERE c.oid = ANY($1::text[]::regclass[]) AND pg_has_role(c.relowner, 'USAGE')
    AND pg_stat_get_live_tuples(c.oid) - greatest(c.reltuples, 0) > $2::int + $3::float8 * greatest(c.reltuples, 0)`,
  parameters: [TABLES, GROWN_ROWS_MIN, GROWN_PART],
  name: 'millrace_grown_tables',
}

/**
 * Has TABLES analysed that have outgrown their statistics, while somebody searches runs or models. Autovacuum comes once a minute;
 * until then PostgreSQL takes a new experiment of 2,000 runs for one run, and reads all metrics of a name again for each of them.
 */
export class PostgresStatistics implements AsyncDisposable {
  readonly #db: Database
  #nextLookMs = 0
  #look: Promise<void> = Promise.resolve()

  constructor(db: Database) {
    this.#db = db
  }

  /** Looks after the TABLES unless that was done a moment ago; nobody waits for it. */
  keepUp(): void {
    if (performance.now() < this.#nextLookMs) return
    this.#nextLookMs = Number.POSITIVE_INFINITY
    this.#look = this.#analyze()
      // Searches go on with the statistics that there are, and tell of a database that is out of reach themselves.
      .catch(() => {})
      .finally(() => {
        this.#nextLookMs = performance.now() + LOOK_INTERVAL_MS
      })
  }

  async #analyze(): Promise<void> {
    const grown = await this.#db.all<{ name: string }>(GROWN_TABLES)
    if (grown.length === 0) return
    // Another process may be at it.
    await this.#db.run({ sql: `ANALYZE (SKIP_LOCKED) ${grown.map(table => table.name).join(', ')}`, parameters: [] })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#look
  }
}
