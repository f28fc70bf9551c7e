import { parseXml, textOf } from '../xml.ts'
import { type AzureAccount, hmac } from './account.ts'
import { API_VERSION, type BlobClient, blobUrl, encode } from './client.ts'

export interface SasGrant {
  /** `container/blob`, not encoded. */
  path: string
  /** Letters of Azure's, in its order: `r`, `cw`, `w`. */
  permissions: string
  expirationSeconds: number
  /** Content-Disposition of what is downloaded. */
  disposition?: string
  /** Content-Encoding of what is downloaded, in the place of the blob's. */
  encoding?: string
}

/** What signs for an account whose server has tokens only; Azure grants it for at most a week. */
export interface DelegationKey {
  objectId: string
  tenantId: string
  start: string
  expiry: string
  service: string
  version: string
  key: Buffer
  expiresTime: number
}

const DELEGATION_MS_MAX = 7 * 24 * 3_600_000
const DELEGATION_MS = 24 * 3_600_000
const CLOCK_SKEW_MS = 5 * 60_000

/** Makes URLs for one blob each that need no other credentials. */
export class SasSigner {
  readonly #client: BlobClient
  #delegation: Promise<DelegationKey> | undefined

  constructor(client: BlobClient) {
    this.#client = client
  }

  /** The query of a signed URL, its signature last. */
  async sign(grant: SasGrant, signal?: AbortSignal): Promise<string> {
    const { account } = this.#client
    const limit = account.credential.kind === 'token' ? DELEGATION_MS_MAX - CLOCK_SKEW_MS : Number.POSITIVE_INFINITY
    const expiresTime = Date.now() + Math.min(grant.expirationSeconds * 1000, limit)
    if (account.credential.kind === 'key') return sasQuery(account, grant, expiresTime, account.credential.key)
    return sasQuery(account, grant, expiresTime, await this.#delegationUntil(expiresTime, signal))
  }

  /** @param extra goes before what is signed. */
  async url(grant: SasGrant, extra = '', signal?: AbortSignal): Promise<string> {
    return `${blobUrl(this.#client.account.publicEndpoint, grant.path)}?${extra}${await this.sign(grant, signal)}`
  }

  async #delegationUntil(expiresTime: number, signal?: AbortSignal): Promise<DelegationKey> {
    const cached = await this.#delegation?.catch(() => undefined)
    if (cached && cached.expiresTime >= expiresTime) return cached
    const fetching = this.#fetchDelegation(Math.max(expiresTime, Date.now() + DELEGATION_MS), signal)
    this.#delegation = fetching
    return fetching
  }

  async #fetchDelegation(expiresTime: number, signal?: AbortSignal): Promise<DelegationKey> {
    const body = `<KeyInfo><Start>${isoSeconds(Date.now() - CLOCK_SKEW_MS)}</Start><Expiry>${isoSeconds(expiresTime)}</Expiry></KeyInfo>`
    const document = await this.#client.text({
      method: 'POST',
      path: '',
      query: { restype: 'service', comp: 'userdelegationkey' },
      headers: { 'content-type': 'application/xml' },
      body: Buffer.from(`<?xml version="1.0" encoding="utf-8"?>${body}`),
      signal,
    })
    const key = parseXml(document)
    return {
      objectId: textOf(key, 'SignedOid'),
      tenantId: textOf(key, 'SignedTid'),
      start: textOf(key, 'SignedStart'),
      expiry: textOf(key, 'SignedExpiry'),
      service: textOf(key, 'SignedService'),
      version: textOf(key, 'SignedVersion'),
      key: Buffer.from(textOf(key, 'Value'), 'base64'),
      expiresTime,
    }
  }
}

/** Source: "Create a service SAS" and "Create a user delegation SAS" of Azure's storage services, for versions from 2020-12-06. */
export function sasQuery(account: AzureAccount, grant: SasGrant, expiresTime: number, signer: Buffer | DelegationKey): string {
  const expiry = isoSeconds(expiresTime)
  const protocol = account.publicEndpoint.startsWith('https:') ? 'https' : ''
  const delegation = Buffer.isBuffer(signer) ? undefined : signer
  const byWhom = delegation
    ? [delegation.objectId, delegation.tenantId, delegation.start, delegation.expiry, delegation.service, delegation.version, '', '', '']
    : ['']
  const text = [
    grant.permissions,
    '',
    expiry,
    `/blob/${account.name}/${grant.path}`,
    ...byWhom,
    '',
    protocol,
    API_VERSION,
    'b',
    '',
    '',
    '',
    grant.disposition ?? '',
    grant.encoding ?? '',
    '',
    '',
  ].join('\n')
  const signature = hmac(Buffer.isBuffer(signer) ? signer : signer.key, text)
  const query: Record<string, string | undefined> = {
    sv: API_VERSION,
    spr: protocol,
    se: expiry,
    sr: 'b',
    sp: grant.permissions,
    skoid: delegation?.objectId,
    sktid: delegation?.tenantId,
    skt: delegation?.start,
    ske: delegation?.expiry,
    sks: delegation?.service,
    skv: delegation?.version,
    rscd: grant.disposition,
    rsce: grant.encoding,
    sig: signature,
  }
  return Object.entries(query)
    .flatMap(([name, value]) => (value ? `${name}=${encode(value)}` : []))
    .join('&')
}

const isoSeconds = (time: number) => new Date(time).toISOString().replace(/\.\d+Z$/, 'Z')
