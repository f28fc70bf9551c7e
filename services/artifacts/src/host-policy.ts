import { invalidParameter } from '@millrace/kit/errors'
import { hostTargets } from './hosts.ts'
import { schemeOf, shownUri } from './uri.ts'

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

/** Whether a URI says on which host its artifacts are. */
export const namesHost = (uri: string): boolean => targetsOf(uri) !== undefined

/** The part between `//` and the path, as it stands. */
const authorityOf = (uri: string) => /^[^:]*:\/\/([^/?#]*)/.exec(uri)?.[1] ?? ''

const targetsOf = (uri: string) => hostTargets(schemeOf(uri), authorityOf(uri))
