import type { Env } from '@millrace/kit/config'
import type { Scheme } from '../driver.ts'
import type { HeldBytes } from '../held-bytes.ts'
import { AZURE } from './azure/descriptor.ts'
import type { SchemeDescriptor, StoreDescriptor } from './descriptor.ts'
import { FTP } from './ftp/descriptor.ts'
import { GCS } from './gcs/descriptor.ts'
import { HDFS } from './hdfs/descriptor.ts'
import { HTTP } from './http/descriptor.ts'
import { LOCAL } from './local/descriptor.ts'
import { S3 } from './s3/descriptor.ts'
import { SFTP } from './sftp/descriptor.ts'

/** Every kind of store. */
export const STORES = { local: LOCAL, s3: S3, azure: AZURE, gcs: GCS, ftp: FTP, sftp: SFTP, hdfs: HDFS, http: HTTP }

type StoreName = keyof typeof STORES
const BY_NAME: readonly [string, StoreDescriptor][] = Object.entries(STORES)

/** By name in lower case; "" is a plain path. */
export const SCHEMES: ReadonlyMap<string, SchemeDescriptor> = new Map(BY_NAME.flatMap(([, { schemes }]) => Object.entries(schemes)))

/** See `StoreDescriptor.profileEnv`. */
export const PROFILE_ENV: Env = Object.assign({}, ...BY_NAME.map(([, { profileEnv }]) => profileEnv))

/** One set of credentials and limits for every kind of store. */
export type StoreSettings = { readonly [Name in StoreName]: ReturnType<(typeof STORES)[Name]['check']> }
export type RawStoreSettings = { readonly [Name in StoreName]: ReturnType<(typeof STORES)[Name]['read']> }

export function readStoreSettings(env: Env): RawStoreSettings {
  return ofEach(store => store.read(env)) as RawStoreSettings
}

export function checkStoreSettings(raw: RawStoreSettings): StoreSettings {
  return ofEach((store, name) => store.check(raw[name])) as StoreSettings
}

const ofEach = (make: (store: StoreDescriptor, name: StoreName) => unknown) =>
  Object.fromEntries(BY_NAME.map(([name, store]) => [name, make(store, name as StoreName)]))

/** The schemes that drivers serve. */
export interface Schemes extends AsyncDisposable {
  readonly byName: ReadonlyMap<string, Scheme>
}

export function openSchemes(settings: StoreSettings, held: HeldBytes): Schemes {
  const stack = new AsyncDisposableStack()
  const byName = new Map<string, Scheme>()
  for (const [name, store] of BY_NAME) {
    const opened = stack.use(store.open(settings[name as StoreName], held))
    for (const scheme of Object.keys(store.schemes)) byName.set(scheme, opened)
  }
  return { byName, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}
