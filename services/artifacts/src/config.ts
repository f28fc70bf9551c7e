import { checkBoolean, checkInteger, checkList, type Env, type Flags, type Raw, read, refused } from '@millrace/kit/config'
import { localLocation, localPath } from './drivers/local/scheme.ts'
import { proxyVariables } from './drivers/proxies.ts'
import { checkStoreSettings, readStoreSettings, SCHEMES, type StoreSettings } from './drivers/table.ts'
import { HELD_BYTES } from './held-bytes.ts'
import { checkProfiles, type StorageProfile } from './profiles.ts'
import type { TransferLimits } from './transfers.ts'
import { isLocal, schemeOf } from './uri.ts'

export interface ArtifactsConfig {
  /** Where `mlflow-artifacts:` URIs lead: an absolute path, percent-encoded, or the URI of a store. Absent: they lead nowhere. */
  artifactsDestination: string | undefined
  /** The operator's other location, whose host may be contacted. */
  defaultArtifactRoot: string | undefined
  /** Local folders that locations named by clients may be below; absent: any. */
  allowedFolders: readonly string[] | undefined
  /** Where clients reach the server that this process is a part of. */
  publicUrl?: string
  /** Another tracking server that the operator named, whose host may be contacted. */
  trackingUri?: string
  /** URIs of served artifacts that name a host lead there, whoever wrote them, as with MLflow's own clients. For commands that an operator runs. */
  followHosts?: boolean
  /** Schemes whose URIs may name any host. */
  allowedHostAddressedSchemes: readonly string[]
  /** How long presigned downloads last unless the caller says. */
  presignedDownloadTtlSeconds: number
  /** Of every store that no profile claims. */
  stores: StoreSettings
  profiles: readonly StorageProfile[]
  /** Of this process. */
  limits: TransferLimits
}

const PRESIGNED_TTL_SECONDS = 300
export const PRESIGNED_TTL_SECONDS_MAX = 604_800
const STREAMS = 256
const STREAMS_MAX = 65_536
const BYTES_IN_FLIGHT = 2 * 1024 ** 3
const BYTES_IN_FLIGHT_MIN = 1024 ** 2
const BYTES_IN_FLIGHT_MAX = 1024 ** 4
const DEFAULT_DESTINATION = './mlartifacts'
/** Where MLflow's own servers keep artifacts below the working folder unless told otherwise. */
const MLFLOW_FOLDERS = ['./mlruns', './mlartifacts']

export type ArtifactsRaw = ReturnType<typeof readArtifacts>

export function readArtifacts(env: Env, flags: Flags) {
  return {
    artifactsDestination: read(env, flags, 'artifactsDestination', 'MLFLOW_ARTIFACTS_DESTINATION'),
    defaultArtifactRoot: read(env, flags, 'defaultArtifactRoot', 'MLFLOW_DEFAULT_ARTIFACT_ROOT'),
    publicUrl: read(env, {}, undefined, 'MILLRACE_PUBLIC_URL'),
    serveArtifacts: read(env, flags, 'serveArtifacts', 'MLFLOW_SERVE_ARTIFACTS'),
    allowedFolders: read(env, flags, 'allowedArtifactFolders', 'MILLRACE_ALLOWED_ARTIFACT_FOLDERS'),
    allowedSchemes: read(env, flags, undefined, 'MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES'),
    presignedDownloadTtl: read(env, flags, undefined, 'MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS'),
    streams: read(env, flags, undefined, 'MILLRACE_ARTIFACT_STREAMS_MAX'),
    bytesInFlight: read(env, flags, undefined, 'MILLRACE_ARTIFACT_BYTES_IN_FLIGHT_MAX'),
    heldBytes: read(env, flags, undefined, 'MILLRACE_ARTIFACT_HELD_BYTES_MAX'),
    profiles: read(env, flags, undefined, 'MILLRACE_STORAGE_PROFILES'),
    proxyEnv: proxyVariables(env),
    stores: readStoreSettings(env),
  }
}

export function checkArtifacts(raw: ArtifactsRaw): ArtifactsConfig {
  const artifactsDestination = checkBoolean(raw.serveArtifacts, true) ? checkDestination(raw.artifactsDestination) : undefined
  const defaultArtifactRoot = raw.defaultArtifactRoot?.value
  const profiles = checkProfiles(raw.profiles, raw.proxyEnv)
  const named = [artifactsDestination, defaultArtifactRoot, ...profiles.flatMap(({ prefixes }) => prefixes.map(one => `${one}/`))]
  const local = [...named.flatMap(one => one ?? []).filter(isLocal), ...MLFLOW_FOLDERS].map(localPath)
  const allowedFolders = [...local, ...checkFolders(raw.allowedFolders)]
  return {
    artifactsDestination,
    defaultArtifactRoot,
    allowedFolders: artifactsDestination ? allowedFolders : undefined,
    publicUrl: raw.publicUrl?.value,
    allowedHostAddressedSchemes: checkList(raw.allowedSchemes).map(scheme => scheme.toLowerCase()),
    presignedDownloadTtlSeconds: checkInteger(raw.presignedDownloadTtl, PRESIGNED_TTL_SECONDS, 1, PRESIGNED_TTL_SECONDS_MAX),
    stores: checkStoreSettings(raw.stores),
    profiles,
    limits: {
      streamsMax: checkInteger(raw.streams, STREAMS, 1, STREAMS_MAX),
      bytesInFlightMax: checkInteger(raw.bytesInFlight, BYTES_IN_FLIGHT, BYTES_IN_FLIGHT_MIN, BYTES_IN_FLIGHT_MAX),
      heldBytesMax: checkInteger(raw.heldBytes, HELD_BYTES, 0, BYTES_IN_FLIGHT_MAX),
    },
  }
}

function checkFolders(raw: Raw | undefined): string[] {
  return checkList(raw).map(folder => {
    if (raw && !isLocal(folder)) throw refused(raw, 'folders, separated by commas')
    return localPath(folder)
  })
}

function checkDestination(raw: Raw | undefined): string {
  const value = raw?.value ?? DEFAULT_DESTINATION
  const given = raw ?? { value, source: 'artifacts destination' }
  const known = SCHEMES.get(schemeOf(value))
  if (!known) throw refused(given, [...SCHEMES.values()].map(({ form }) => form).join(', '))
  try {
    known.check(value)
  } catch (error) {
    throw refused(given, known.form, error)
  }
  return isLocal(value) ? localLocation(localPath(value)) : value
}
