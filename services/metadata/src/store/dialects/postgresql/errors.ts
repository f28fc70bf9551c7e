import type { FailureKind } from '../../db/errors.ts'

/** SQLSTATEs: PostgreSQL, appendix A. The other codes and the texts are those of sockets and of the driver. */
export function failureOf(reason: Error): FailureKind | undefined {
  const { code } = reason as { code?: unknown }
  // First, since EPIPE has the form of a SQLSTATE.
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code)) return 'unavailable'
  if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)) return ofState(code)
  if (reason.message === 'Query read timeout') return 'silent'
  return /timeout|terminated|not queryable|Connection/i.test(reason.message) ? 'unavailable' : undefined
}

const STATES: Readonly<Record<string, FailureKind>> = {
  '23505': 'unique',
  '23503': 'foreign key',
  '40001': 'again',
  '40P01': 'again',
  '53100': 'full',
}

const CLASSES: Readonly<Record<string, FailureKind>> = {
  '22': 'misfit',
  '23': 'check',
  '08': 'unavailable',
  '40': 'unavailable',
  '53': 'unavailable',
  '55': 'unavailable',
  '57': 'unavailable',
}

const ofState = (code: string) => STATES[code] ?? CLASSES[code.slice(0, 2)]
