import { redact } from './redact.ts'

export { redact }

/** Environment variables as the process got them. */
export type Env = Readonly<Record<string, string | undefined>>

/** Options given on the command line by their camelCase name; an option that was not given is absent. */
export type Flags = Readonly<Record<string, string | boolean | readonly string[] | undefined>>

/** A value as it was written, with the flag or variable it came from. */
export interface Raw {
  readonly value: string
  readonly source: string
}

/** A setting that cannot be used. The message names the flag or variable, the value and what is allowed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

export function refused(raw: Raw, allowed: string, cause?: unknown): ConfigError {
  return new ConfigError(`Invalid value for ${raw.source}: '${redact(raw.value)}'. Allowed: ${allowed}.`, { cause })
}

/**
 * The flag's value, else the first variable's that is set and not empty.
 * @param flag camelCase name, as in Flags; a list is joined with commas.
 */
export function read(env: Env, flags: Flags, flag: string | undefined, ...variables: string[]): Raw | undefined {
  const given = flag === undefined ? undefined : flags[flag]
  if (flag !== undefined && given !== undefined) {
    const value = Array.isArray(given) ? given.join(',') : String(given)
    return { value, source: `--${flag.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}` }
  }
  for (const source of variables) {
    const value = env[source]
    if (value !== undefined && value !== '') return { value, source }
  }
  return undefined
}

export function checkInteger(raw: Raw | undefined, fallback: number, min: number, max: number): number {
  if (!raw) return fallback
  const number = /^[+-]?\d+$/.test(raw.value.trim()) ? Number(raw.value) : Number.NaN
  if (!(number >= min && number <= max)) throw refused(raw, `a whole number from ${min} to ${max}`)
  return number
}

const TRUE = new Set(['true', '1', 'yes', 'on', 't', 'y'])
const FALSE = new Set(['false', '0', 'no', 'off', 'f', 'n'])

export function checkBoolean(raw: Raw | undefined, fallback: boolean): boolean {
  if (!raw) return fallback
  const value = raw.value.trim().toLowerCase()
  if (TRUE.has(value)) return true
  if (FALSE.has(value)) return false
  throw refused(raw, 'true or false')
}

export function checkOneOf<const T extends string>(raw: Raw | undefined, fallback: T, allowed: readonly T[]): T {
  if (!raw) return fallback
  const found = allowed.find(one => one === raw.value)
  if (found === undefined) throw refused(raw, allowed.join(', '))
  return found
}

/** Comma-separated values, trimmed, without empty ones. */
export function checkList(raw: Raw | undefined): string[] {
  return (raw?.value ?? '').split(',').flatMap(part => part.trim() || [])
}

/** Comma-separated http(s) URLs without a trailing slash. */
export function checkUrls(raw: Raw | undefined): string[] {
  return checkList(raw).map(text => {
    const url = URL.parse(text)
    if (!raw || !url || !/^https?:$/.test(url.protocol)) throw refused(raw ?? { value: text, source: 'URL' }, 'http:// or https:// URLs')
    return text.replace(/\/+$/, '')
  })
}
