import type { DatabaseSync, StatementSync } from 'node:sqlite'

/**
 * Where an experiment's runs are, newest first, as a temporary table of one connection: `run_places(experiment_id, start_time, place)`,
 * the place being the rowid in `runs`. MLflow's schema has no index on these columns, and the schema is not ours to change: with
 * 100,000 other runs around, the ids of a page of 100 cost 30 ms by a scan and 0.2 ms through this table.
 * A run changes neither its experiment nor its start, and SQLite hands out rowids in rising order, so only new runs need reading.
 * A place may be out of date after a run was removed: who reads it compares the run's experiment too.
 */
export class RunPlaces {
  readonly #database: DatabaseSync
  readonly #last: StatementSync
  readonly #at: StatementSync
  readonly #add: StatementSync
  /** The newest run seen. When it is no longer there rowids may be used again, so all places are read anew. */
  #seen = { place: 0, run: '' }

  constructor(database: DatabaseSync) {
    this.#database = database
    database.exec(
      `CREATE TEMP TABLE run_places (experiment_id INTEGER NOT NULL, start_time INTEGER, place INTEGER NOT NULL);
       CREATE INDEX temp.run_places_by_start ON run_places (experiment_id, start_time DESC, place)`,
    )
    this.#last = database.prepare('SELECT rowid AS place, run_uuid AS run FROM runs ORDER BY rowid DESC LIMIT 1')
    this.#at = database.prepare('SELECT run_uuid AS run FROM runs WHERE rowid = ?')
    this.#add = database.prepare(
      'INSERT INTO run_places SELECT experiment_id, start_time, rowid FROM runs WHERE rowid > ? AND experiment_id IS NOT NULL',
    )
  }

  /** Brings the table up to the connection's current view of the database. */
  refresh(): void {
    const last = this.#last.get() as { place: number; run: string } | undefined
    if (last?.place === this.#seen.place && last.run === this.#seen.run) return
    if (this.#seen.place > 0 && this.#at.get(this.#seen.place)?.run !== this.#seen.run) {
      this.#database.exec('DELETE FROM run_places')
      this.#seen = { place: 0, run: '' }
    }
    this.#add.run(this.#seen.place)
    this.#seen = last ?? { place: 0, run: '' }
  }
}
