import type { FailureKind } from '../../db/errors.ts'

const BUSY = 5
const LOCKED = 6
const IOERR = 10
const FULL = 13
const CANTOPEN = 14
const TOOBIG = 18
const CONSTRAINT = 19
const MISMATCH = 20
const CONSTRAINT_FOREIGNKEY = 787
const CONSTRAINT_PRIMARYKEY = 1555
const CONSTRAINT_UNIQUE = 2067

/** SQLite's result codes: sqlite.org/rescode.html. */
export function failureOf(reason: Error): FailureKind | undefined {
  const { code, errcode } = reason as { code?: string; errcode?: number }
  if (code !== 'ERR_SQLITE_ERROR' || errcode === undefined) return undefined
  switch (errcode & 0xff) {
    case CONSTRAINT:
      if (errcode === CONSTRAINT_FOREIGNKEY) return 'foreign key'
      return errcode === CONSTRAINT_PRIMARYKEY || errcode === CONSTRAINT_UNIQUE ? 'unique' : 'check'
    case MISMATCH:
    case TOOBIG:
      return 'misfit'
    case BUSY:
      return 'again'
    case FULL:
      return 'full'
    case LOCKED:
    case IOERR:
    case CANTOPEN:
      return 'unavailable'
    default:
      return undefined
  }
}
