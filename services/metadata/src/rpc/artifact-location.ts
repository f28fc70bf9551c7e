import { invalidParameter } from '@millrace/kit/errors'
import { SCHEMES_WITH_PARAMETERS } from '@millrace/kit/python-urls'
import type { MetadataConfig } from '../config.ts'
import { checkQuery, resolveIfLocal, splitUri } from '../store/artifact-uri.ts'
import { longerThan } from './checks.ts'

type LocationConfig = Pick<
  MetadataConfig,
  'artifactLocationLengthMax' | 'allowedHostSchemes' | 'defaultArtifactRoot' | 'artifactsDestination' | 'profilePrefixes'
>

/**
 * Schemes whose URI names the host that the server would connect to, with the family that they are compared in and the ports that an
 * absent one stands for. HDFS takes an absent port from its own configuration.
 */
const HOST_SCHEMES: Record<string, { family: string; ports: readonly (number | undefined)[] }> = {
  ftp: { family: 'ftp', ports: [21] },
  sftp: { family: 'sftp', ports: [22] },
  hdfs: { family: 'hdfs', ports: [undefined] },
  viewfs: { family: 'hdfs', ports: [undefined] },
  webhdfs: { family: 'webhdfs', ports: [9870] },
  swebhdfs: { family: 'swebhdfs', ports: [9871] },
  http: { family: 'http', ports: [80] },
  https: { family: 'http', ports: [443] },
  'mlflow-artifacts': { family: 'http', ports: [80, 443] },
  r2: { family: 'r2', ports: [443] },
  b2: { family: 'b2', ports: [443] },
  abfss: { family: 'abfss', ports: [443] },
}

/** The location as it is stored. @throws INVALID_PARAMETER_VALUE for one that the server must not or cannot use. */
export function checkArtifactLocation(location: string, config: LocationConfig): string {
  const { scheme, netloc, path, query, fragment } = splitUri(location)
  if (netloc.includes('[') !== netloc.includes(']')) throw invalidParameter(`'artifact_location' is no URI: '${location}'`)
  // Of the path's last segment only.
  const params = SCHEMES_WITH_PARAMETERS.has(scheme) ? (/;(.*)$/.exec(path.slice(path.lastIndexOf('/') + 1))?.[1] ?? '') : ''
  if (fragment || params) throw invalidParameter("'artifact_location' URL can't include fragments or params.")
  checkQuery(query)
  checkHost(location, config)
  if (location.startsWith('runs:')) throw invalidParameter(`Artifact location cannot be a runs:/ URI. Given: '${location}'`)
  checkLength(location, config.artifactLocationLengthMax)
  const resolved = resolveIfLocal(location)
  checkLength(resolved, config.artifactLocationLengthMax)
  return resolved
}

function checkLength(location: string, max: number): void {
  if (!longerThan(location, max)) return
  throw invalidParameter(
    `Invalid artifact path length. The length of the artifact path cannot be greater than ${max} characters. ` +
      'To configure this limit, please set the MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH environment variable.',
  )
}

function checkHost(location: string, config: LocationConfig): void {
  const targets = targetsOf(location)
  const { scheme } = splitUri(location)
  if (!targets || config.allowedHostSchemes.has(scheme)) return
  const { defaultArtifactRoot, artifactsDestination = '', profilePrefixes } = config
  const trusted = new Set([defaultArtifactRoot, artifactsDestination, ...profilePrefixes].flatMap(uri => targetsOf(uri) ?? []))
  if (targets.some(target => trusted.has(target))) return
  throw invalidParameter(
    `'artifact_location' cannot use the '${scheme}' scheme: the '${scheme}' scheme addresses a host other than the tracking server's ` +
      'configured artifact storage, so the server would connect to the host named in the URI. ' +
      'Set the MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES environment variable on the server to allow it.',
  )
}

/** The hosts that the server might connect to for a URI; undefined when the URI names none, empty when it cannot be told. */
function targetsOf(uri: string): string[] | undefined {
  const { scheme, netloc } = splitUri(uri)
  const known = HOST_SCHEMES[scheme]
  if (!known || (scheme === 'mlflow-artifacts' && !netloc)) return undefined
  if (/[\\\s]/.test(netloc)) return []
  const authority = netloc.slice(netloc.lastIndexOf('@') + 1)
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(authority)
  if (!match || Number(match[2] ?? 0) > 65_535) return []
  const host = (match[1] ?? '').toLowerCase()
  const ports = match[2] ? [Number(match[2])] : known.ports
  return ports.map(port => `${known.family} ${host} ${port ?? ''}`)
}
