import {
  AnonymousCredential,
  type BlobItem,
  BlobServiceClient,
  type BlockBlobClient,
  ContainerClient,
  type IHttpClient,
  Pipeline,
  type RequestPolicyFactory,
  StorageSharedKeyCredential,
} from '@azure/storage-blob'
import { invalidParameter } from '@millrace/kit/errors'
import { folderBelow, nameBelow } from '../key-prefix.ts'
import type { AzureAccount } from './account.ts'
import type { AzureUri } from './location.ts'

/** The newest that every sovereign cloud serves; also of the SAS tokens. */
export const API_VERSION = '2021-12-02'

const OF_VERSION: RequestPolicyFactory = {
  create: next => ({
    sendRequest(request) {
      request.headers.set('x-ms-version', API_VERSION)
      return next.sendRequest(request)
    },
  }),
}

/** A container of an account. */
export interface AzureLocation {
  account: AzureAccount
  service: BlobServiceClient
  container: ContainerClient
  containerName: string
  /** See `readPrefix`. */
  prefix: string
}

/** @param httpClient sends the calls, with retries and tokens. */
export function openLocation(account: AzureAccount, { container, prefix }: AzureUri, httpClient: IHttpClient): AzureLocation {
  const { credential, name, endpoint } = account
  const key = credential.kind === 'key' ? new StorageSharedKeyCredential(name, credential.key) : new AnonymousCredential()
  const options = { httpClient, retryOptions: { maxTries: 1 }, redirectOptions: { maxRetries: 0 } }
  const pipeline = new Pipeline([OF_VERSION, key], options)
  const query = credential.kind === 'sas' ? `?${credential.query}` : ''
  return {
    account,
    service: new BlobServiceClient(`${endpoint}${query}`, pipeline),
    container: new ContainerClient(`${endpoint}/${container}${query}`, pipeline),
    containerName: container,
    prefix,
  }
}

/** On empty blobs that exist for a moment so that the store drops the unfinished upload in their place; nobody is to see them. */
export const DISCARDED = 'millrace_discarded'

/** Of blobs that stand for a folder, in a hierarchical namespace or for Hadoop. */
const FOLDER = 'hdi_isfolder'

type Metadata = Record<string, string> | undefined

/** A blob that stands for a folder. */
export const marksFolder = (metadata: Metadata): boolean => entryOf(metadata, FOLDER) === 'true'

/** A blob that is none for users. */
export const isMarker = (metadata: Metadata): boolean => marksFolder(metadata) || entryOf(metadata, DISCARDED) !== undefined

/** Lists give names as they were written, responses for one blob in lower case. */
function entryOf(metadata: Metadata = {}, name: string): string | undefined {
  return Object.entries(metadata).find(([key]) => key.toLowerCase() === name)?.[1]
}

export interface ListedBlob {
  /** Of the whole container. */
  name: string
  sizeBytes: number
  /** A common prefix, or a blob that stands for a folder. */
  isFolder: boolean
}

export interface ListQuery {
  prefix: string
  delimiter?: '/'
  /** Blobs with nothing but unfinished uploads too. */
  uncommitted?: boolean
  sizeMax?: number
}

/** Name within the container; "" for a whole container. */
export function blobName({ prefix }: AzureLocation, key: string): string {
  return nameBelow(prefix, key)
}

/** @throws INVALID_PARAMETER_VALUE for a name that URLs would take for another one. */
export function blobNamed({ container }: AzureLocation, name: string): BlockBlobClient {
  if (/(^|\/)\.{1,2}(\/|$)/.test(name)) throw invalidParameter(`Azure knows no blobs with '.' or '..' in their path`)
  return container.getBlockBlobClient(name)
}

export function blobAt(location: AzureLocation, key: string): BlockBlobClient {
  return blobNamed(location, blobName(location, key))
}

/** Prefix of everything below `key`; "" for a whole container. */
export function folderPrefix({ prefix }: AzureLocation, key: string): string {
  return folderBelow(prefix, key)
}

interface Page {
  segment: { blobItems: BlobItem[]; blobPrefixes?: { name: string }[] }
}

/** Pages of blobs, which may be empty before the last one. */
export async function* listBlobs(
  { container }: AzureLocation,
  { prefix, delimiter, uncommitted, sizeMax }: ListQuery,
  abortSignal?: AbortSignal,
): AsyncGenerator<ListedBlob[]> {
  const options = { prefix: prefix || undefined, includeMetadata: true, includeUncommitedBlobs: uncommitted, abortSignal }
  const blobs = delimiter ? container.listBlobsByHierarchy(delimiter, options) : container.listBlobsFlat(options)
  for await (const { segment } of blobs.byPage({ maxPageSize: sizeMax }) as AsyncIterable<Page>) {
    const folders = segment.blobPrefixes ?? []
    yield [...folders.map(({ name }) => ({ name, sizeBytes: 0, isFolder: true })), ...segment.blobItems.flatMap(listed)]
  }
}

function listed({ name, metadata, properties }: BlobItem): ListedBlob[] {
  const isFolder = name.endsWith('/') || marksFolder(metadata)
  if (isMarker(metadata) && !isFolder) return []
  return [{ name, sizeBytes: isFolder ? 0 : (properties.contentLength ?? 0), isFolder }]
}
