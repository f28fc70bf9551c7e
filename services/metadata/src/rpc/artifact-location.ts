import { invalidParameter } from '@millrace/kit/errors'
import { SCHEMES_WITH_PARAMETERS } from '@millrace/kit/python-urls'
import { shorten } from '@millrace/kit/shown'
import type { MetadataConfig } from '../config.ts'
import { checkQuery, resolveIfLocal, splitUri } from '../store/artifact-uri.ts'
import { longerThan } from './checks.ts'

type LocationConfig = Pick<
  MetadataConfig,
  'artifactLocationLengthMax' | 'allowedHostSchemes' | 'defaultArtifactRoot' | 'artifactsDestination' | 'profilePrefixes' | 'hostTargets'
>

/** The location as it is stored. @throws INVALID_PARAMETER_VALUE for one that the server must not or cannot use. */
export function checkArtifactLocation(location: string, config: LocationConfig): string {
  const { scheme, netloc, path, query, fragment } = splitUri(location)
  if (netloc.includes('[') !== netloc.includes(']')) throw invalidParameter(`'artifact_location' is no URI: '${shorten(location)}'`)
  // Of the path's last segment only.
  const params = SCHEMES_WITH_PARAMETERS.has(scheme) ? (/;(.*)$/.exec(path.slice(path.lastIndexOf('/') + 1))?.[1] ?? '') : ''
  if (fragment || params) throw invalidParameter("'artifact_location' URL can't include fragments or params.")
  checkQuery(query)
  checkHost(location, config)
  if (location.startsWith('runs:')) throw invalidParameter(`Artifact location cannot be a runs:/ URI. Given: '${shorten(location)}'`)
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
  const targetsOf = (uri: string) => {
    const { scheme, netloc } = splitUri(uri)
    return config.hostTargets(scheme, netloc)
  }
  const targets = targetsOf(location)
  const { scheme } = splitUri(location)
  if (!targets || config.allowedHostSchemes.has(scheme)) return
  const { defaultArtifactRoot, artifactsDestination = '', profilePrefixes } = config
  const trusted = new Set([defaultArtifactRoot, artifactsDestination, ...profilePrefixes].flatMap(uri => targetsOf(uri) ?? []))
  if (targets.some(target => trusted.has(target))) return
  throw invalidParameter(
    `'artifact_location' cannot use the '${shorten(scheme)}' scheme: the '${shorten(scheme)}' scheme addresses a host other than the tracking server's ` +
      'configured artifact storage, so the server would connect to the host named in the URI. ' +
      'Set the MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES environment variable on the server to allow it.',
  )
}
