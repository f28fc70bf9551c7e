import type { Database } from '../db.ts'
import type { RunWrites } from '../runs/writes.ts'
import type { Reads } from '../shapes/reads.ts'

/** An open database. Where it has no way of its own to read or to write runs, the portable one serves. */
export interface Opened {
  readonly db: Database
  openReads?(): Reads
  openRunWrites?(): RunWrites
}

/** A kind of database that Millrace runs on. */
export interface Backend {
  /** Of URIs, in lower case. */
  readonly schemes: readonly string[]
  /**
   * Opens the database; makes MLflow's tables when there are none.
   * @param place what follows `scheme://`.
   * @param poolSize connections to a server.
   * @throws when the tables are of another revision.
   */
  open(place: string, poolSize: number): Promise<Opened>
}
