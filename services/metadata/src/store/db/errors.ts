import { badRequest, MlflowError, temporarilyUnavailable } from '@millrace/kit/errors'

interface DriverError {
  code?: string
  errcode?: number
}

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_IOERR = 10
const SQLITE_FULL = 13
const SQLITE_CANTOPEN = 14
const SQLITE_TOOBIG = 18
const SQLITE_CONSTRAINT = 19
const SQLITE_MISMATCH = 20

/** MLflow answers BAD_REQUEST with the text of the SQL; the code is the same here, the words are ours. */
export function translateError(reason: unknown): unknown {
  if (reason instanceof MlflowError || !(reason instanceof Error)) return reason
  const { code, errcode } = reason as DriverError
  if (code === 'ERR_SQLITE_ERROR' && errcode !== undefined) return fromSqlite(reason, errcode)
  if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)) return fromPostgres(reason, code)
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code)) return unreachable(reason)
  if (/timeout|terminated|not queryable|Connection/i.test(reason.message)) return unreachable(reason)
  return reason
}

/** A PostgreSQL that takes a statement and says nothing, not even that it took too long. */
export function isSilence(reason: unknown): boolean {
  const inner = reason instanceof MlflowError ? reason.cause : reason
  return inner instanceof Error && inner.message === 'Query read timeout'
}

/** No room for what was to be written. */
export function isDiskFull(reason: unknown): boolean {
  const { code, errcode } = cause(reason)
  return code === '53100' || (errcode !== undefined && (errcode & 0xff) === SQLITE_FULL)
}

function fromSqlite(reason: Error, errcode: number): unknown {
  switch (errcode & 0xff) {
    case SQLITE_CONSTRAINT:
      return constraint(reason, errcode === 787 ? 'foreign key' : errcode === 1555 || errcode === 2067 ? 'unique' : 'check')
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
      return badRequest('A value does not fit the database', { cause: reason })
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
      return unreachable(reason)
    default:
      return reason
  }
}

/** SQLSTATE classes: PostgreSQL, appendix A. */
function fromPostgres(reason: Error, code: string): unknown {
  if (code === '23505') return constraint(reason, 'unique')
  if (code === '23503') return constraint(reason, 'foreign key')
  switch (code.slice(0, 2)) {
    case '23':
      return constraint(reason, 'check')
    case '22':
      return badRequest('A value does not fit the database', { cause: reason })
    case '08':
    case '40':
    case '53':
    case '55':
    case '57':
      return unreachable(reason)
    default:
      return reason
  }
}

const CONSTRAINTS = {
  unique: 'The request conflicts with a record that exists already',
  'foreign key': 'The request refers to a record that does not exist',
  check: 'A value is not allowed by the database',
}

function constraint(reason: Error, kind: keyof typeof CONSTRAINTS): MlflowError {
  return badRequest(CONSTRAINTS[kind], { cause: reason })
}

function unreachable(reason: Error): MlflowError {
  return temporarilyUnavailable('The tracking database is not available, try again', { cause: reason })
}

export function isUniqueViolation(reason: unknown): boolean {
  const { code, errcode } = cause(reason)
  return code === '23505' || errcode === 1555 || errcode === 2067
}

export function isForeignKeyViolation(reason: unknown): boolean {
  const { code, errcode } = cause(reason)
  return code === '23503' || errcode === 787
}

/** The transaction may succeed when it is run again: serialization failure, deadlock, a lock held by another process. */
export function isRetryable(reason: unknown): boolean {
  const { code, errcode } = cause(reason)
  return code === '40001' || code === '40P01' || (errcode !== undefined && (errcode & 0xff) === SQLITE_BUSY)
}

/** The database could not be reached or did not get to it: trying the parts of a transaction one by one is of no use. */
export function isUnavailable(reason: unknown): boolean {
  return reason instanceof MlflowError && reason.errorCode === 'TEMPORARILY_UNAVAILABLE'
}

function cause(reason: unknown): DriverError {
  const inner = reason instanceof MlflowError ? reason.cause : reason
  return inner instanceof Error ? (inner as DriverError) : {}
}
