import { readFile, stat } from 'node:fs/promises'
import type { FromTemporaryCredentialsOptions } from '@aws-sdk/credential-providers'
import type { AwsIdentity, AwsRole } from './identity-config.ts'
import { readProfile, type Section, type SharedFiles } from './shared-files.ts'

interface Keys {
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string
  /** Absent: until the store says no. */
  expiration?: Date
}

/** How STS is reached: a region, an endpoint, connections. */
type StsClientConfig = NonNullable<FromTemporaryCredentialsOptions['clientConfig']>

export interface CredentialOptions {
  keys?: Keys
  identity: AwsIdentity
  sts: StsClientConfig
}

/** What the SDK takes for a provider that it must not cache itself. */
export interface CredentialSource {
  (): Promise<Keys>
  readonly memoized: true
  /** Keys after those that the store refused; the same ones when there are no others. */
  renew(refused: Keys): Promise<Keys>
}

type Provider = () => Promise<Keys>

/** Keys that end sooner are replaced while they still work. */
const RENEW_BEFORE_MS = 5 * 60_000
/** How often the store's refusal may make us ask for new keys, and how often files are looked at. */
const RENEW_INTERVAL_MS_MIN = 1_000
const FILES_INTERVAL_MS = 1_000
const PROFILES_MAX = 10

/** A failure to get keys, in the name that the SDK has for it. Holds nothing of what a file or STS said. */
class CredentialsError extends Error {
  override readonly name = 'CredentialsProviderError'
}

/**
 * Keys that stay current: a session is renewed before it ends, files and tokens are read again when they change, and a refusal by the
 * store makes all be asked for anew. Nothing is taken from the environment.
 */
export function createCredentials(options: CredentialOptions): CredentialSource {
  const { provider, watched } = chain(options)
  let held: Keys | undefined
  let asking: Promise<Keys> | undefined
  let stamp = ''
  let stampedAt = Number.NEGATIVE_INFINITY
  let renewedAt = Number.NEGATIVE_INFINITY

  const haveFilesChanged = async () => {
    const now = performance.now()
    if (watched.length === 0 || now - stampedAt < FILES_INTERVAL_MS) return false
    stampedAt = now
    const before = stamp
    stamp = (await Promise.all(watched.map(stampOf))).join()
    return before !== '' && before !== stamp
  }
  const ask = () => {
    asking ??= provider()
      .then(keys => {
        held = keys
        return keys
      })
      .finally(() => {
        asking = undefined
      })
    return asking
  }
  const current = async () => {
    const changed = await haveFilesChanged()
    const left = (held?.expiration?.getTime() ?? Number.POSITIVE_INFINITY) - Date.now()
    if (held && !changed && left > RENEW_BEFORE_MS) return held
    try {
      return await ask()
    } catch (error) {
      // A session that can't be renewed yet is good until its end.
      if (held && !changed && left > 0) return held
      throw error
    }
  }
  const renew = async (refused: Keys) => {
    if (asking) return asking
    if (held && held !== refused) return held
    const now = performance.now()
    if (now - renewedAt < RENEW_INTERVAL_MS_MIN) return refused
    renewedAt = now
    return ask()
  }
  return Object.assign(current, { memoized: true as const, renew })
}

interface Chain {
  provider: Provider
  watched: string[]
}

/**
 * The first that is there: keys, a named profile, a web identity, the default profile, the container's, the machine's; then the role. A
 * profile that names no keys, as one with only a region, is not there.
 */
function chain({ keys, identity, sts }: CredentialOptions): Chain {
  const { role, files, profile, container } = identity
  if (role?.tokenFile && !keys && !profile) return { provider: webIdentity(role, role.tokenFile, sts), watched: [role.tokenFile] }
  const watched = files && !keys ? [files.config, files.credentials] : []
  const place = container ? () => fromContainer(container) : identity.instanceMetadata ? fromMachine : undefined
  const base = keys
    ? async () => keys
    : files
      ? () => fromFiles({ files, name: profile ?? 'default', sts, container, seen: [] }, place)
      : (place ?? (() => Promise.reject(new CredentialsError('no credentials are configured'))))
  return { provider: role && !role.tokenFile ? assumed(role, base, sts) : base, watched }
}

function assumed(role: Omit<AwsRole, 'tokenFile'>, base: Provider, sts: StsClientConfig): Provider {
  let opened: Promise<Provider> | undefined
  const open = async (): Promise<Provider> => {
    const { fromTemporaryCredentials } = await import('@aws-sdk/credential-providers')
    const params = { RoleArn: role.arn, RoleSessionName: role.sessionName, ExternalId: role.externalId }
    return fromTemporaryCredentials({ masterCredentials: base, params, clientConfig: sts })
  }
  return async () => {
    opened ??= open()
    return (await opened)().catch(fail)
  }
}

/** The token is read each time: whoever issues it replaces the file. */
function webIdentity({ arn, sessionName }: AwsRole, tokenFile: string, sts: StsClientConfig): Provider {
  return async () => {
    const { fromWebToken } = await import('@aws-sdk/credential-providers')
    const webIdentityToken = await readFile(tokenFile, 'utf8').catch(() => {
      throw new CredentialsError('the web identity token can not be read')
    })
    const given = { roleArn: arn, roleSessionName: sessionName, webIdentityToken: webIdentityToken.trim(), clientConfig: sts }
    return fromWebToken(given)().catch(fail)
  }
}

interface Named {
  files: SharedFiles
  name: string
  sts: StsClientConfig
  container: AwsIdentity['container']
  /** Profiles that led here. */
  seen: readonly string[]
}

/** @param place where the server runs, which may have keys when the profile names none. */
async function fromFiles(named: Named, place: Provider | undefined): Promise<Keys> {
  const section = readProfile(named.files, named.name)
  return section && place && !namesKeys(section) ? place() : fromProfile(named)
}

const namesKeys = (section: Section) =>
  keysOf(section) !== undefined || ['role_arn', 'credential_process', 'sso_session', 'sso_start_url'].some(name => name in section)

async function fromProfile(named: Named): Promise<Keys> {
  const { files, name, sts, seen } = named
  const section = readProfile(files, name)
  if (!section) throw new CredentialsError('a profile is missing in the AWS configuration files')
  if (seen.includes(name) || seen.length > PROFILES_MAX) throw new CredentialsError('profiles name each other as their source')
  const own = keysOf(section)
  const { role_arn: arn, source_profile: source, role_session_name: sessionName = 'millrace', external_id: externalId } = section
  if (arn === undefined) return own ?? elsewhere(named, section)
  const tokenFile = section.web_identity_token_file
  if (tokenFile !== undefined) return webIdentity({ arn, sessionName }, tokenFile, sts)()
  const base =
    source === undefined ? fromCredentialSource(section, named) : await sourceOf({ ...named, seen: [...seen, name] }, source, own)
  return assumed({ arn, sessionName, externalId }, base, sts)()
}

/** A profile that is its own source has keys of its own. */
async function sourceOf(named: Named, source: string, own: Keys | undefined): Promise<Provider> {
  if (source === named.name && own) return async () => own
  return () => fromProfile({ ...named, name: source })
}

function fromCredentialSource({ credential_source: kind }: Section, { container }: Named): Provider {
  if (kind === 'Ec2InstanceMetadata') return fromMachine
  if (kind === 'EcsContainer' && container) return () => fromContainer(container)
  return () =>
    Promise.reject(new CredentialsError('a profile with role_arn has no source_profile, and no credential_source that is known here'))
}

function keysOf(section: Section): Keys | undefined {
  const { aws_access_key_id: accessKeyId, aws_secret_access_key: secretAccessKey, aws_session_token: sessionToken } = section
  return accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) } : undefined
}

/** A program's answer or a login, both by the SDK from the same files. */
async function elsewhere({ files, name, sts }: Named, section: Section): Promise<Keys> {
  const { fromProcess, fromSSO } = await import('@aws-sdk/credential-providers')
  const init = { profile: name, filepath: files.credentials, configFilepath: files.config, ignoreCache: true }
  if (section.credential_process !== undefined) return fromProcess(init)().catch(fail)
  const isLogin = section.sso_session !== undefined || section.sso_start_url !== undefined
  if (isLogin) return fromSSO({ ...init, clientConfig: { requestHandler: sts.requestHandler } })().catch(fail)
  throw new CredentialsError('a profile has neither keys nor another source of them')
}

async function fromContainer({ uri, token, tokenFile }: NonNullable<AwsIdentity['container']>): Promise<Keys> {
  const { fromHttp } = await import('@aws-sdk/credential-providers')
  return fromHttp({
    awsContainerCredentialsFullUri: uri,
    awsContainerCredentialsRelativeUri: '',
    awsContainerAuthorizationToken: token,
    awsContainerAuthorizationTokenFile: tokenFile,
  })().catch(fail)
}

async function fromMachine(): Promise<Keys> {
  const { fromInstanceMetadata } = await import('@aws-sdk/credential-providers')
  return fromInstanceMetadata()().catch(() => {
    throw new CredentialsError('no credentials are configured, and the machine gives none')
  })
}

/** A refusal by STS or a missing source is named; a service that can't be reached keeps its own error. */
function fail(error: unknown): never {
  const { name, $metadata } = (error ?? {}) as { name?: string; $metadata?: { httpStatusCode?: number } }
  const status = $metadata?.httpStatusCode ?? 0
  if ((status < 400 || status >= 500) && name !== 'CredentialsProviderError' && name !== 'TokenProviderError') throw error
  throw new CredentialsError(`no credentials were given (${name})`)
}

async function stampOf(file: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(file)
    return `${mtimeMs} ${size} ${ino}`
  } catch {
    return 'absent'
  }
}
