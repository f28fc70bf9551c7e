import { DatabaseSync } from 'node:sqlite'

/** Waiting for another process's lock holds the thread, so little of it is done here and the rest by trying again. */
const busyTimeoutMs = 100
const cacheKib = 32 * 1024
/** A checkpoint copies the log into the file while writers wait: little and often keeps each wait to a few milliseconds. */
const checkpointPages = 1000

export function connectReader(path: string): DatabaseSync {
  return connect(path, true)
}

/** A commit over it returns after fsync. A file is put into WAL mode. */
export function connectWriter(path: string): DatabaseSync {
  const db = connect(path, false)
  if (path !== ':memory:') {
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = ${checkpointPages}`)
  }
  return db
}

function connect(path: string, readOnly: boolean): DatabaseSync {
  const db = new DatabaseSync(path, { readOnly, enableForeignKeyConstraints: true, timeout: busyTimeoutMs })
  db.exec(`PRAGMA case_sensitive_like = ON; PRAGMA cache_size = -${cacheKib}; PRAGMA temp_store = MEMORY`)
  return db
}
