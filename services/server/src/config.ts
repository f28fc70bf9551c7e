import { homedir } from 'node:os'
import { ConfigError, checkInteger, checkOneOf, checkUrls, type Env, type Flags, read } from '@millrace/kit/config'
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '@millrace/kit/logger'

/** The one place where the process's environment is looked at. */
export const processEnv = (): Env => process.env

/**
 * Adds the variables of a dotenv file to the process's own, which win. Libraries look for credentials there.
 * @throws when the file can't be read.
 */
export const addEnvFile = (path: string): void => process.loadEnvFile(path)

/** Debian's name for the home of users that have none. */
const NO_HOME = '/nonexistent'

/**
 * Says that there is no home folder where the system knows none, as for a container's user that is only a number: libraries that look for
 * files of theirs there find nothing, where the question alone would fail.
 */
export function settleHome(): void {
  try {
    homedir()
  } catch {
    process.env.HOME = NO_HOME
  }
}

export interface ProcessConfig {
  readonly logLevel: LogLevel
  readonly logFormat: LogFormat
}

export function readProcess(env: Env) {
  return { logLevel: read(env, {}, undefined, 'MILLRACE_LOG_LEVEL'), logFormat: read(env, {}, undefined, 'MILLRACE_LOG_FORMAT') }
}

export function checkProcess(raw: ReturnType<typeof readProcess>): ProcessConfig {
  return { logLevel: checkOneOf(raw.logLevel, 'info', LOG_LEVELS), logFormat: checkOneOf(raw.logFormat, 'text', LOG_FORMATS) }
}

/** Where the other services are; an empty list is a part that isn't there. */
export interface UpstreamConfig {
  readonly metadata: readonly string[]
  readonly artifacts: readonly string[]
  readonly jobs: readonly string[]
}

export function readUpstreams(env: Env, flags: Flags) {
  return {
    metadata: read(env, flags, 'metadataUrl', 'MILLRACE_METADATA_URL'),
    artifacts: read(env, flags, 'artifactsUrl', 'MILLRACE_ARTIFACTS_URL'),
    jobs: read(env, flags, 'jobsUrl', 'MILLRACE_JOBS_URL'),
  }
}

/** @param required parts without which the process has nothing to do. */
export function checkUpstreams(raw: ReturnType<typeof readUpstreams>, required: readonly (keyof UpstreamConfig)[]): UpstreamConfig {
  for (const part of required) {
    const names = `--${part}-url or MILLRACE_${part.toUpperCase()}_URL`
    if (!raw[part]) throw new ConfigError(`${names} is required. Allowed: one or more http:// or https:// URLs.`)
  }
  return { metadata: checkUrls(raw.metadata), artifacts: checkUrls(raw.artifacts), jobs: checkUrls(raw.jobs) }
}

/** Where a service listens for the other services. */
export interface AddressConfig {
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
}

const PORT_MAX = 65_535

export function readAddress(env: Env, flags: Flags) {
  return { host: read(env, flags, 'host', 'MILLRACE_HOST'), port: read(env, flags, 'port', 'MILLRACE_PORT') }
}

export function checkAddress(raw: ReturnType<typeof readAddress>, defaultPort: number): AddressConfig {
  return { host: raw.host?.value ?? '127.0.0.1', port: checkInteger(raw.port, defaultPort, 0, PORT_MAX) }
}
