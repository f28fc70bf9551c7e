import {
  BlobSASPermissions,
  generateBlobSASQueryParameters,
  SASProtocol,
  StorageSharedKeyCredential,
  type UserDelegationKey,
} from '@azure/storage-blob'
import { API_VERSION, type AzureLocation, blobNamed } from './blobs.ts'

export interface SasGrant {
  /** Of the blob, in its container. */
  name: string
  /** Letters of Azure's: `r`, `cw`, `w`. */
  permissions: string
  expirationSeconds: number
  /** Content-Disposition of what is downloaded. */
  disposition?: string
  /** Content-Encoding of what is downloaded, in the place of the blob's. */
  encoding?: string
}

/** What signs for an account whose server has tokens only; Azure grants it for at most a week. */
interface Delegation {
  key: UserDelegationKey
  expiresTime: number
}

const DELEGATION_MS_MAX = 7 * 24 * 3_600_000
const DELEGATION_MS = 24 * 3_600_000
const CLOCK_SKEW_MS = 5 * 60_000

/** Makes URLs for one blob each that need no other credentials. */
export class SasSigner {
  readonly #location: AzureLocation
  #delegation: Promise<Delegation> | undefined

  constructor(location: AzureLocation) {
    this.#location = location
  }

  /** @param extra goes before what is signed. */
  async url(grant: SasGrant, extra = '', signal?: AbortSignal): Promise<string> {
    const { account, container, containerName } = this.#location
    const path = blobNamed(this.#location, grant.name).url.slice(container.url.length)
    return `${account.publicEndpoint}/${containerName}${path}?${extra}${await this.#sign(grant, signal)}`
  }

  async #sign(grant: SasGrant, signal?: AbortSignal): Promise<string> {
    const { account, containerName } = this.#location
    const { credential, name } = account
    const limit = credential.kind === 'token' ? DELEGATION_MS_MAX - CLOCK_SKEW_MS : Number.POSITIVE_INFINITY
    const expiresTime = Date.now() + Math.min(grant.expirationSeconds * 1000, limit)
    const values = {
      containerName,
      blobName: grant.name,
      permissions: BlobSASPermissions.parse(grant.permissions),
      expiresOn: new Date(expiresTime),
      protocol: account.publicEndpoint.startsWith('https:') ? SASProtocol.Https : undefined,
      contentDisposition: grant.disposition,
      contentEncoding: grant.encoding,
      version: API_VERSION,
    }
    const signed =
      credential.kind === 'key'
        ? generateBlobSASQueryParameters(values, new StorageSharedKeyCredential(name, credential.key))
        : generateBlobSASQueryParameters(values, await this.#delegationUntil(expiresTime, signal), name)
    return signed.toString()
  }

  async #delegationUntil(expiresTime: number, signal?: AbortSignal): Promise<UserDelegationKey> {
    const cached = await this.#delegation?.catch(() => undefined)
    if (cached && cached.expiresTime >= expiresTime) return cached.key
    this.#delegation = this.#fetchDelegation(Math.max(expiresTime, Date.now() + DELEGATION_MS), signal)
    return (await this.#delegation).key
  }

  async #fetchDelegation(expiresTime: number, abortSignal?: AbortSignal): Promise<Delegation> {
    const begin = new Date(Date.now() - CLOCK_SKEW_MS)
    return { key: await this.#location.service.getUserDelegationKey(begin, new Date(expiresTime), { abortSignal }), expiresTime }
  }
}
