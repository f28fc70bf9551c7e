import type { Env, Raw } from '@millrace/kit/config'
import { readStorageProfiles } from '@millrace/kit/storage-profiles'
import { checkStoreSettings, PROFILE_ENV, readStoreSettings, type StoreSettings } from './drivers/table.ts'
import { schemeOf } from './uri.ts'

/** Credentials of their own for the locations below some URIs. */
export interface StorageProfile {
  name: string
  /** Roots without a trailing slash, the scheme in lower case. */
  prefixes: readonly string[]
  settings: StoreSettings
}

/**
 * Profiles as the file says: by name, the URI prefixes that a profile is for and its settings, which are the variables that configure a
 * store, by their usual names. A profile takes nothing from the environment, so that no credential is shared by accident;
 * only the proxies are the process's, unless it names its own.
 */
export function checkProfiles(raw: Raw | undefined, proxyEnv: Env = {}): StorageProfile[] {
  return readStorageProfiles(raw).map(({ name, prefixes, settings }) => ({
    name,
    prefixes,
    settings: checkStoreSettings(readStoreSettings({ ...PROFILE_ENV, ...proxyEnv, ...settings })),
  }))
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
