import { parseStoreUri } from './db/uri.ts'
import type { Database } from './db.ts'
import type { Opened } from './dialects/backend.ts'

export interface DatabaseOptions {
  /** SQLAlchemy's form: `sqlite:///relative`, `sqlite:////absolute`, `postgresql://...`, `postgresql+psycopg2://...`. */
  uri: string
  /** Connections to PostgreSQL. */
  poolSize: number
}

/** Opens the database; makes MLflow's tables when there are none. @throws when the tables are of another revision. */
export function openStore({ uri, poolSize }: DatabaseOptions): Promise<Opened> {
  const { backend, place } = parseStoreUri(uri)
  return backend.open(place, poolSize)
}

export const openDatabase = async (options: DatabaseOptions): Promise<Database> => (await openStore(options)).db
