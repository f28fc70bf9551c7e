import { resolve } from 'node:path'
import { checkBoolean, checkInteger, checkList, type Env, type Flags, type Raw, read, refused } from '@millrace/kit/config'
import { localPath } from './drivers/local/scheme.ts'
import { checkS3Config, readS3Config, type S3Config } from './drivers/s3/config.ts'
import { schemeOf } from './uri.ts'

export interface ArtifactsConfig {
  /** Where `mlflow-artifacts:` URIs lead: an absolute path or the URI of a store. Absent: they lead nowhere. */
  artifactsDestination: string | undefined
  /** The operator's other location, whose host may be contacted. */
  defaultArtifactRoot: string | undefined
  /** Schemes whose URIs may name any host. */
  allowedHostAddressedSchemes: readonly string[]
  /** How long presigned downloads last unless the caller says. */
  presignedDownloadTtlSeconds: number
  s3: S3Config
}

const PRESIGNED_TTL_SECONDS = 300
export const PRESIGNED_TTL_SECONDS_MAX = 604_800
const DEFAULT_DESTINATION = './mlartifacts'

export type ArtifactsRaw = ReturnType<typeof readArtifacts>

export function readArtifacts(env: Env, flags: Flags) {
  return {
    artifactsDestination: read(env, flags, 'artifactsDestination', 'MLFLOW_ARTIFACTS_DESTINATION'),
    defaultArtifactRoot: read(env, flags, 'defaultArtifactRoot', 'MLFLOW_DEFAULT_ARTIFACT_ROOT'),
    serveArtifacts: read(env, flags, 'serveArtifacts', 'MLFLOW_SERVE_ARTIFACTS'),
    allowedSchemes: read(env, flags, undefined, 'MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES'),
    presignedDownloadTtl: read(env, flags, undefined, 'MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS'),
    s3: readS3Config(env),
  }
}

export function checkArtifacts(raw: ArtifactsRaw): ArtifactsConfig {
  return {
    artifactsDestination: checkBoolean(raw.serveArtifacts, true) ? checkDestination(raw.artifactsDestination) : undefined,
    defaultArtifactRoot: raw.defaultArtifactRoot?.value,
    allowedHostAddressedSchemes: checkList(raw.allowedSchemes).map(scheme => scheme.toLowerCase()),
    presignedDownloadTtlSeconds: checkInteger(raw.presignedDownloadTtl, PRESIGNED_TTL_SECONDS, 1, PRESIGNED_TTL_SECONDS_MAX),
    s3: checkS3Config(raw.s3),
  }
}

function checkDestination(raw: Raw | undefined): string {
  const value = raw?.value ?? DEFAULT_DESTINATION
  switch (schemeOf(value)) {
    case '':
      return resolve(value)
    case 'file':
      return checkFileUri(value, raw)
    case 's3':
      return value
    default:
      throw refused(raw ?? { value, source: 'artifacts destination' }, 'a path, file:///path or s3://bucket/path')
  }
}

function checkFileUri(value: string, raw: Raw | undefined): string {
  try {
    return localPath(value)
  } catch (error) {
    throw refused(raw ?? { value, source: 'artifacts destination' }, 'file:///absolute/path', error)
  }
}
