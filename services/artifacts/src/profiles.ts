import { readFileSync } from 'node:fs'
import { type Raw, refused } from '@millrace/kit/config'
import { checkStoreSettings, readStoreSettings, type StoreSettings } from './drivers/schemes.ts'
import { schemeOf } from './uri.ts'

/** Credentials of their own for the locations below some URIs. */
export interface StorageProfile {
  name: string
  /** Roots without a trailing slash, the scheme in lower case. */
  prefixes: readonly string[]
  settings: StoreSettings
}

interface WrittenProfile {
  prefixes: string[]
  settings: Record<string, string>
}

/** A machine's own role is given to every process on it, and so is who is signed in: a profile has to ask for them. */
const NOT_BY_ITSELF = {
  AWS_EC2_METADATA_DISABLED: 'true',
  AZURE_TOKEN_CREDENTIALS: 'EnvironmentCredential',
  METADATA_SERVER_DETECTION: 'none',
}

const FORM = 'a readable JSON file of {"NAME": {"prefixes": ["SCHEME://…"], "settings": {"VARIABLE": "VALUE"}}}'

/**
 * Profiles as the file says: by name, the URI prefixes that a profile is for and its settings, which are the variables that configure a
 * store, by their usual names. A profile takes nothing from the environment, so that no credential is shared by accident.
 */
export function checkProfiles(raw: Raw | undefined): StorageProfile[] {
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
    if (!isWrittenProfile(profile)) throw refused({ value: raw.value, source }, FORM)
    const prefixes = profile.prefixes.map(prefix => normalized(prefix, source))
    for (const prefix of prefixes) {
      if (taken.has(prefix)) throw refused({ value: prefix, source }, 'prefixes that no other profile has')
      taken.add(prefix)
    }
    return { name, prefixes, settings: checkStoreSettings(readStoreSettings({ ...NOT_BY_ITSELF, ...profile.settings })) }
  })
}

/** The profile with the longest prefix that `uri` lies below. */
export function profileOf(uri: string, profiles: readonly StorageProfile[]): StorageProfile | undefined {
  const scheme = schemeOf(uri)
  const whole = `${scheme}${uri.slice(scheme.length)}`
  let longest = 0
  let found: StorageProfile | undefined
  for (const profile of profiles) {
    for (const prefix of profile.prefixes) {
      if (prefix.length <= longest || !(whole === prefix || whole.startsWith(`${prefix}/`))) continue
      longest = prefix.length
      found = profile
    }
  }
  return found
}

function normalized(prefix: string, source: string): string {
  const scheme = schemeOf(prefix)
  if (scheme === '' || /^mlflow-artifacts:(?!\/\/[^/])/i.test(prefix)) throw refused({ value: prefix, source }, 'the URI of a store')
  return `${scheme}${prefix.slice(scheme.length)}`.replace(/\/+$/, '')
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

function isWrittenProfile(value: unknown): value is WrittenProfile {
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
