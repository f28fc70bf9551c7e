import { join } from 'node:path'
import { checkBoolean, type Env, type Raw, read, refused } from '@millrace/kit/config'
import { homeFolder } from '../settings.ts'
import { readProfile, type Section, type SharedFiles } from './shared-files.ts'

/** Who a server is to S3 when no keys are given, or what it becomes with them. */
export interface AwsIdentity {
  /** A profile of `files`; without a name their `default`, if they have one. */
  profile?: string
  files?: SharedFiles
  /** To be assumed through STS with the keys, or with the web identity token in a file. */
  role?: AwsRole
  /** Where a container asks for its credentials. */
  container?: { uri: string; token: string; tokenFile: string }
  /** Whether the machine may be asked for its own role. */
  instanceMetadata: boolean
  stsEndpointUrl?: string
}

export interface AwsRole {
  arn: string
  sessionName: string
  externalId?: string
  tokenFile?: string
}

export interface RawAwsIdentity {
  profile?: Raw
  configFile?: Raw
  credentialsFile?: Raw
  home?: Raw
  roleArn?: Raw
  roleSessionName?: Raw
  roleExternalId?: Raw
  tokenFile?: Raw
  containerRelativeUri?: Raw
  containerFullUri?: Raw
  containerToken?: Raw
  containerTokenFile?: Raw
  noInstanceMetadata?: Raw
  stsEndpointUrl?: Raw
}

/** Of the credentials agent that a container's relative URI is meant for. */
const CONTAINER_AGENT = 'http://169.254.170.2'
const SESSION_NAME = 'millrace'
/** Debian's name for the home of users that have none. */
const NO_FOLDER = '/nonexistent'

export function readAwsIdentity(env: Env): RawAwsIdentity {
  const variable = (...names: string[]) => read(env, {}, undefined, ...names)
  return {
    profile: variable('AWS_PROFILE', 'AWS_DEFAULT_PROFILE'),
    configFile: variable('AWS_CONFIG_FILE'),
    credentialsFile: variable('AWS_SHARED_CREDENTIALS_FILE'),
    home: variable('HOME'),
    roleArn: variable('AWS_ROLE_ARN'),
    roleSessionName: variable('AWS_ROLE_SESSION_NAME'),
    roleExternalId: variable('MILLRACE_S3_ROLE_EXTERNAL_ID'),
    tokenFile: variable('AWS_WEB_IDENTITY_TOKEN_FILE'),
    containerRelativeUri: variable('AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'),
    containerFullUri: variable('AWS_CONTAINER_CREDENTIALS_FULL_URI'),
    containerToken: variable('AWS_CONTAINER_AUTHORIZATION_TOKEN'),
    containerTokenFile: variable('AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'),
    noInstanceMetadata: variable('AWS_EC2_METADATA_DISABLED'),
    stsEndpointUrl: variable('AWS_ENDPOINT_URL_STS', 'AWS_ENDPOINT_URL'),
  }
}

/** @returns the identity, and the settings of the profile that it names. */
export function checkAwsIdentity(raw: RawAwsIdentity): { identity: AwsIdentity; section: Section } {
  const { profile, roleArn, roleExternalId, tokenFile } = raw
  const files = sharedFiles(raw)
  const section = files && readProfile(files, profile?.value ?? 'default')
  if (profile && !section) throw refused(profile, `a profile of ${files?.config} or ${files?.credentials}`)
  if (!roleArn && tokenFile) throw refused(tokenFile, 'a file, together with AWS_ROLE_ARN')
  if (!roleArn && roleExternalId) throw refused(roleExternalId, 'an external id, together with AWS_ROLE_ARN')
  const full = raw.containerFullUri?.value
  const relative = raw.containerRelativeUri && `${CONTAINER_AGENT}${raw.containerRelativeUri.value}`
  const uri = full ?? relative
  const container = uri && { uri, token: raw.containerToken?.value ?? '', tokenFile: raw.containerTokenFile?.value ?? '' }
  return {
    identity: {
      ...(profile ? { profile: profile.value } : {}),
      ...(section && files ? { files } : {}),
      ...(roleArn ? { role: checkRole(roleArn, raw) } : {}),
      ...(container ? { container } : {}),
      instanceMetadata: !checkBoolean(raw.noInstanceMetadata, false),
      stsEndpointUrl: checkEndpoint(raw.stsEndpointUrl) ?? section?.['sts.endpoint_url'],
    },
    section: section ?? {},
  }
}

/** Both files, by their usual names in the home folder; undefined when nothing says that there are any. */
function sharedFiles({ profile, configFile, credentialsFile, home }: RawAwsIdentity): SharedFiles | undefined {
  if (!profile && !configFile && !credentialsFile && !home) return undefined
  const folder = join(home?.value ?? homeFolder() ?? NO_FOLDER, '.aws')
  return { config: configFile?.value ?? join(folder, 'config'), credentials: credentialsFile?.value ?? join(folder, 'credentials') }
}

function checkRole(roleArn: Raw, { roleSessionName, roleExternalId, tokenFile }: RawAwsIdentity): AwsRole {
  if (!/^arn:[^:]+:iam::[^:]*:role\/.+$/.test(roleArn.value)) throw refused(roleArn, 'arn:aws:iam::ACCOUNT:role/NAME')
  return {
    arn: roleArn.value,
    sessionName: roleSessionName?.value ?? SESSION_NAME,
    externalId: roleExternalId?.value,
    tokenFile: tokenFile?.value,
  }
}

export function checkEndpoint(raw: Raw | undefined): string | undefined {
  if (raw && !/^https?:$/.test(URL.parse(raw.value)?.protocol ?? '')) throw refused(raw, 'an http:// or https:// URL')
  return raw?.value
}
