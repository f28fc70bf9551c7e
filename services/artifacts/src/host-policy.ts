import { invalidParameter } from '@millrace/kit/errors'
import { schemeOf, shownUri } from './uri.ts'

/** Schemes whose URIs name the host to connect to, with the family that they are compared in and the ports they mean by default. */
const HOST_ADDRESSED: Record<string, { family: string; ports: readonly number[] }> = {
  ftp: { family: 'ftp', ports: [21] },
  sftp: { family: 'sftp', ports: [22] },
  hdfs: { family: 'hdfs', ports: [] },
  viewfs: { family: 'hdfs', ports: [] },
  webhdfs: { family: 'webhdfs', ports: [9870] },
  swebhdfs: { family: 'swebhdfs', ports: [9871] },
  http: { family: 'http', ports: [80] },
  https: { family: 'http', ports: [443] },
  'mlflow-artifacts': { family: 'http', ports: [80, 443] },
  r2: { family: 'r2', ports: [443] },
  b2: { family: 'b2', ports: [443] },
  abfss: { family: 'abfss', ports: [443] },
}

export interface HostPolicy {
  /** Locations that the operator configured. */
  trusted: readonly (string | undefined)[]
  allowedSchemes: readonly string[]
}

/**
 * Refuses a location that would make the server connect to a host that a client chose.
 * Source of the rule and its wording: MLflow's MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES.
 */
export function checkHost(uri: string, { trusted, allowedSchemes }: HostPolicy): void {
  const scheme = schemeOf(uri)
  if (!targetsOf(uri) || allowedSchemes.includes(scheme) || isAtOneOf(trusted, uri)) return
  throw invalidParameter(
    `The tracking server does not connect to artifact location '${shownUri(uri)}': the '${scheme}' scheme addresses a host other than ` +
      "the tracking server's configured artifact storage, so the server would connect to the host named in the URI. " +
      'Set the MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES environment variable on the server to allow it.',
  )
}

/** Whether a URI leads to the host and port that one of some locations names. */
export function isAtOneOf(locations: readonly (string | undefined)[], uri: string): boolean {
  const known = new Set(locations.flatMap(location => (location && targetsOf(location)) || []))
  return targetsOf(uri)?.some(target => known.has(target)) ?? false
}

/** `family host port` of each place that the URI may lead to; undefined when it names no host. A malformed authority matches nothing. */
function targetsOf(uri: string): string[] | undefined {
  const scheme = schemeOf(uri)
  const about = Object.hasOwn(HOST_ADDRESSED, scheme) ? HOST_ADDRESSED[scheme] : undefined
  const authority = /^[^:]*:\/\/([^/?#]*)/.exec(uri)?.[1] ?? ''
  if (!about || (scheme === 'mlflow-artifacts' && authority === '')) return undefined
  const [, host, port] = /^(\[[^\]]*\]|[^:\\\s]*)(?::(\d*))?$/.exec(authority.slice(authority.lastIndexOf('@') + 1)) ?? []
  if (host === undefined || /[\\\s]/.test(authority)) return []
  const ports = port ? [Number(port)] : about.ports.length > 0 ? about.ports : ['']
  return ports.map(number => `${about.family} ${host.toLowerCase()} ${number}`)
}
