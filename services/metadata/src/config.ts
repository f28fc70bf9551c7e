import { ConfigError, checkBoolean, checkInteger, checkList, type Env, type Flags, type Raw, read } from '@millrace/kit/config'
import { readStorageProfiles } from '@millrace/kit/storage-profiles'
import { parseStoreUri } from './store/db/uri.ts'

export type HostTargets = (scheme: string, authority: string) => readonly string[] | undefined

export interface MetadataConfig {
  /** SQLAlchemy's form: `sqlite:///FILE`, `postgresql://USER@HOST/DATABASE`. */
  readonly backendStoreUri: string
  /** Where experiments without a location of their own keep their artifacts: a URI or a local path. */
  readonly defaultArtifactRoot: string
  /** Where the server's own artifact proxy stores; its host is as trusted as the root's. */
  readonly artifactsDestination?: string
  /** Prefixes of storage profiles, whose hosts are trusted as well. */
  readonly profilePrefixes: readonly string[]
  /** The places that a location of this scheme and authority would make the server connect to; undefined when it names no host. */
  readonly hostTargets: HostTargets
  /** Unicode characters. */
  readonly artifactLocationLengthMax: number
  /** Schemes that may name any host in an experiment's artifact location. */
  readonly allowedHostSchemes: ReadonlySet<string>
  /** Whether the long value of a param or run tag is cut instead of refused. */
  readonly truncateLongValues: boolean
  /** Connections to PostgreSQL. */
  readonly poolSize: number
}

export interface RawMetadata {
  backendStoreUri?: Raw
  defaultArtifactRoot?: Raw
  serveArtifacts?: Raw
  artifactsDestination?: Raw
  profiles?: Raw
  artifactLocationLengthMax?: Raw
  allowedHostSchemes?: Raw
  truncateLongValues?: Raw
  poolSize?: Raw
}

export function readMetadata(env: Env, flags: Flags): RawMetadata {
  return {
    backendStoreUri: read(env, flags, 'backendStoreUri', 'MLFLOW_BACKEND_STORE_URI'),
    defaultArtifactRoot: read(env, flags, 'defaultArtifactRoot', 'MLFLOW_DEFAULT_ARTIFACT_ROOT'),
    serveArtifacts: read(env, flags, 'serveArtifacts', 'MLFLOW_SERVE_ARTIFACTS'),
    artifactsDestination: read(env, flags, 'artifactsDestination', 'MLFLOW_ARTIFACTS_DESTINATION'),
    profiles: read(env, flags, undefined, 'MILLRACE_STORAGE_PROFILES'),
    artifactLocationLengthMax: read(env, flags, undefined, 'MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH'),
    allowedHostSchemes: read(env, flags, undefined, 'MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES'),
    truncateLongValues: read(env, flags, undefined, 'MLFLOW_TRUNCATE_LONG_VALUES'),
    poolSize: read(env, flags, undefined, 'MLFLOW_SQLALCHEMYSTORE_POOL_SIZE'),
  }
}

const STORE_URI_DEFAULT = 'sqlite:///mlflow.db'
const PROXIED_ROOT = 'mlflow-artifacts:/'
const LOCAL_ROOT = './mlruns'
const LOCATION_LENGTH_DEFAULT = 2048
const POOL_SIZE_DEFAULT = 12
/** Two lanes write, two more answer while those wait. */
const POOL_SIZE_MIN = 4
const POOL_SIZE_MAX = 1000

/** @param hostTargets of the stores that artifacts may be in. */
export function checkMetadata(raw: RawMetadata, hostTargets: HostTargets): MetadataConfig {
  const serveArtifacts = checkBoolean(raw.serveArtifacts, true)
  return {
    backendStoreUri: checkStoreUri(raw.backendStoreUri),
    defaultArtifactRoot: raw.defaultArtifactRoot?.value ?? (serveArtifacts ? PROXIED_ROOT : LOCAL_ROOT),
    artifactsDestination: raw.artifactsDestination?.value,
    profilePrefixes: readStorageProfiles(raw.profiles).flatMap(({ prefixes }) => prefixes),
    hostTargets,
    artifactLocationLengthMax: checkInteger(raw.artifactLocationLengthMax, LOCATION_LENGTH_DEFAULT, 1, Number.MAX_SAFE_INTEGER),
    allowedHostSchemes: new Set(checkList(raw.allowedHostSchemes).map(scheme => scheme.toLowerCase())),
    truncateLongValues: checkBoolean(raw.truncateLongValues, true),
    poolSize: Math.max(POOL_SIZE_MIN, checkInteger(raw.poolSize, POOL_SIZE_DEFAULT, 1, POOL_SIZE_MAX)),
  }
}

function checkStoreUri(raw: Raw | undefined): string {
  const uri = raw?.value ?? STORE_URI_DEFAULT
  try {
    parseStoreUri(uri)
  } catch (cause) {
    throw new ConfigError(`Invalid value for ${raw?.source ?? '--backend-store-uri'}: ${(cause as Error).message}.`, { cause })
  }
  return uri
}
