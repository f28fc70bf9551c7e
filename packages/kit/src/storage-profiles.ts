import { readFileSync } from 'node:fs'
import { type Raw, refused } from './config.ts'

/** A storage profile as its file has it: the stores' service uses all of it, the one that owns locations only the prefixes. */
export interface WrittenProfile {
  name: string
  /** URIs of stores, without a trailing slash, the scheme in lower case. */
  prefixes: readonly string[]
  /** Values by the names of variables. */
  settings: Readonly<Record<string, string>>
}

const FORM = 'a readable JSON file of {"NAME": {"prefixes": ["SCHEME://…"], "settings": {"VARIABLE": "VALUE"}}}'

/** Nothing without a file. @throws ConfigError, which quotes nothing of the file but a prefix. */
export function readStorageProfiles(raw: Raw | undefined): WrittenProfile[] {
  if (!raw) return []
  let written: unknown
  try {
    written = JSON.parse(readFileSync(raw.value, 'utf8'))
  } catch {
    // Without its cause, which quotes the file.
    throw refused(raw, FORM)
  }
  if (!isObject(written)) throw refused(raw, FORM)
  const taken = new Set<string>()
  return Object.entries(written).map(([name, profile]) => {
    const source = `profile '${name}' of ${raw.source}`
    if (!isProfile(profile)) throw refused({ value: raw.value, source }, FORM)
    const prefixes = profile.prefixes.map(prefix => normalized(prefix, source))
    for (const prefix of prefixes) {
      if (taken.has(prefix)) throw refused({ value: prefix, source }, 'prefixes that no other profile has')
      taken.add(prefix)
    }
    return { name, prefixes, settings: profile.settings }
  })
}

function normalized(prefix: string, source: string): string {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(prefix)?.[1] ?? ''
  if (scheme === '' || /^mlflow-artifacts:(?!\/\/[^/])/i.test(prefix)) throw refused({ value: prefix, source }, 'the URI of a store')
  return `${scheme.toLowerCase()}${prefix.slice(scheme.length)}`.replace(/\/+$/, '')
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

function isProfile(value: unknown): value is { prefixes: string[]; settings: Record<string, string> } {
  if (!isObject(value)) return false
  const { prefixes, settings, ...rest } = value
  return (
    Object.keys(rest).length === 0 &&
    Array.isArray(prefixes) &&
    prefixes.length > 0 &&
    prefixes.every(prefix => typeof prefix === 'string') &&
    isObject(settings) &&
    Object.values(settings).every(setting => typeof setting === 'string')
  )
}
