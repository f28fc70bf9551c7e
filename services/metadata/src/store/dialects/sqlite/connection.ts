import { DatabaseSync } from 'node:sqlite'

/** Waiting for another process's lock holds the thread, so little of it is done here and the rest by trying again. */
const BUSY_TIMEOUT_MS = 100
const CACHE_KIB = 32 * 1024
/** A checkpoint copies the log into the file while writers wait: little and often keeps each wait to a few milliseconds. */
const CHECKPOINT_PAGES = 1000

export function connectReader(path: string): DatabaseSync {
  return connect(path, true)
}

/** A commit over it returns after fsync. A file is put into WAL mode. */
export function connectWriter(path: string): DatabaseSync {
  const db = connect(path, false)
  if (path !== ':memory:') {
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`)
  }
  return db
}

function connect(path: string, readOnly: boolean): DatabaseSync {
  const db = new DatabaseSync(path, { readOnly, enableForeignKeyConstraints: true, timeout: BUSY_TIMEOUT_MS })
  db.exec(`PRAGMA case_sensitive_like = ON; PRAGMA cache_size = -${CACHE_KIB}; PRAGMA temp_store = MEMORY`)
  return db
}
