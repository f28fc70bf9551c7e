import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import { ConfigError, checkBoolean, checkInteger, type Env, type Flags, type Raw, read, redact, refused } from '@millrace/kit/config'
import { type ControlTarget, parseControlUri } from '../../../prisma/control/target.ts'
import { parseAge } from './age.ts'

export interface GcWorkerConfig {
  /** There is no tracking database: uploads are looked after, nothing is collected. */
  readonly artifactsOnly: boolean
  readonly control: ControlTarget
  /** Without it jobs are run in this process alone. */
  readonly redisUrl?: string
  /** Begins the name of every key in Redis. */
  readonly redisPrefix: string
  /** Jobs at once in this process. */
  readonly concurrency: number
  /** A multipart upload that was neither completed nor aborted for so long is aborted; in milliseconds. */
  readonly uploadExpiryMs: number
  /** Where new experiments get their artifact folders, if not under `mlflow-artifacts:/`. */
  readonly defaultArtifactRoot?: string
}

export interface RawGcWorker {
  controlStoreUri?: Raw
  backendStoreUri?: Raw
  artifactsOnly?: Raw
  artifactsDestination?: Raw
  redisUrl?: Raw
  redisPrefix?: Raw
  concurrency?: Raw
  uploadExpiry?: Raw
  defaultArtifactRoot?: Raw
}

export function readGcWorker(env: Env, flags: Flags): RawGcWorker {
  return {
    controlStoreUri: read(env, flags, 'controlStoreUri', 'MILLRACE_CONTROL_STORE_URI'),
    backendStoreUri: read(env, flags, 'backendStoreUri', 'MLFLOW_BACKEND_STORE_URI'),
    artifactsOnly: read(env, flags, 'artifactsOnly', 'MLFLOW_ARTIFACTS_ONLY'),
    artifactsDestination: read(env, flags, 'artifactsDestination', 'MLFLOW_ARTIFACTS_DESTINATION'),
    redisUrl: read(env, flags, 'redisUrl', 'MILLRACE_REDIS_URL'),
    redisPrefix: read(env, flags, 'redisPrefix', 'MILLRACE_REDIS_PREFIX'),
    concurrency: read(env, flags, 'jobConcurrency', 'MILLRACE_JOB_CONCURRENCY'),
    uploadExpiry: read(env, {}, undefined, 'MILLRACE_MULTIPART_UPLOAD_EXPIRY'),
    defaultArtifactRoot: read(env, flags, 'defaultArtifactRoot', 'MLFLOW_DEFAULT_ARTIFACT_ROOT'),
  }
}

const CONCURRENCY_DEFAULT = 4
const CONCURRENCY_MAX = 100
const UPLOAD_EXPIRY = '7d'
const DATABASE_NAME = 'millrace.db'
const DESTINATION = './mlartifacts'
const DIGEST_DIGITS = 8

export function checkGcWorker(raw: RawGcWorker): GcWorkerConfig {
  const artifactsOnly = checkBoolean(raw.artifactsOnly, false)
  return {
    artifactsOnly,
    control: checkControl(raw, artifactsOnly),
    redisUrl: checkRedisUrl(raw.redisUrl),
    redisPrefix: checkPrefix(raw.redisPrefix),
    concurrency: checkInteger(raw.concurrency, CONCURRENCY_DEFAULT, 1, CONCURRENCY_MAX),
    uploadExpiryMs: checkExpiry(raw.uploadExpiry),
    defaultArtifactRoot: raw.defaultArtifactRoot?.value,
  }
}

/** The control database: as named, else beside a SQLite tracking database, else inside a PostgreSQL one, else one per destination. */
function checkControl(raw: RawGcWorker, artifactsOnly: boolean): ControlTarget {
  const { controlStoreUri: control, backendStoreUri: backend } = raw
  if (control) {
    const target = parseControlUri(control.value)
    if (!target) throw refused(control, 'sqlite:///PATH or postgresql://USER@HOST/DATABASE')
    return target
  }
  if (artifactsOnly) return { provider: 'sqlite', path: databaseOf(raw.artifactsDestination?.value) }
  const backendTarget = backend && parseControlUri(backend.value)
  if (backendTarget?.provider === 'postgresql') return backendTarget
  if (backendTarget) return { provider: 'sqlite', path: backendTarget.path.replace(/[^/]*$/, DATABASE_NAME) }
  if (backend && !/^sqlite/.test(backend.value)) {
    const which = `${backend.source} names neither a SQLite nor a PostgreSQL database`
    throw new ConfigError(
      `--control-store-uri or MILLRACE_CONTROL_STORE_URI is required: ${which}. Allowed: sqlite:///PATH or postgresql://…`,
    )
  }
  return { provider: 'sqlite', path: DATABASE_NAME }
}

/**
 * Records of uploads name objects below the destination: servers with other destinations, tracking servers included, that run in the same
 * folder must not find them.
 */
function databaseOf(destination = DESTINATION): string {
  const place = /^\w[\w+.-]*:/.test(destination) ? redact(destination) : resolve(destination)
  const digest = createHash('sha256').update(place).digest('hex')
  return `millrace-artifacts-${digest.slice(0, DIGEST_DIGITS)}.db`
}

function checkExpiry(raw: Raw | undefined): number {
  try {
    const ms = parseAge(raw?.value ?? UPLOAD_EXPIRY)
    if (ms >= 1_000) return ms
  } catch {
    // Falls through to the one refusal.
  }
  throw refused(raw ?? { value: UPLOAD_EXPIRY, source: '' }, 'at least a second as #d#h#m#s, like 7d or 12h')
}

function checkRedisUrl(raw: Raw | undefined): string | undefined {
  if (raw && !/^rediss?:$/.test(URL.parse(raw.value)?.protocol ?? '')) throw refused(raw, 'redis://HOST:PORT or rediss://HOST:PORT')
  return raw?.value
}

function checkPrefix(raw: Raw | undefined): string {
  if (raw && !/^[\w.{}-]{1,64}$/.test(raw.value)) throw refused(raw, 'up to 64 letters, digits and . _ - { }')
  return raw?.value ?? 'millrace'
}
