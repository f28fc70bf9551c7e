import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { checkInteger, type Raw, refused } from '@millrace/kit/config'

const TIMEOUT_SECONDS_MAX = 86_400

/** -1 stands for the longest, since a call without a limit could hang for ever. */
export function checkTimeoutSeconds(raw: Raw | undefined, fallback: number): number {
  return raw?.value.trim() === '-1' ? TIMEOUT_SECONDS_MAX : checkInteger(raw, fallback, 1, TIMEOUT_SECONDS_MAX)
}

export function readCertificates(raw: Raw): string {
  try {
    return readFileSync(raw.value, 'utf8')
  } catch (error) {
    throw refused(raw, 'a readable file of certificates in PEM', error)
  }
}

/** Undefined for a user that the system doesn't know, as in a container that runs under a number. */
export function homeFolder(): string | undefined {
  try {
    return homedir()
  } catch {
    return undefined
  }
}
