import type { IncomingHttpHeaders } from 'node:http'
import { folderBelow, nameBelow } from '../key-prefix.ts'
import { child, type Element, parseXml, textOf } from '../xml.ts'
import type { BlobClient } from './client.ts'

/** A container of an account. */
export interface AzureLocation {
  client: BlobClient
  container: string
  /** See `readPrefix`. */
  prefix: string
}

/** On empty blobs that exist for a moment so that the store drops the unfinished upload in their place; nobody is to see them. */
export const DISCARDED = 'millrace_discarded'

/** A blob that stands for a folder. */
export const marksFolder = (headers: IncomingHttpHeaders): boolean => headers['x-ms-meta-hdi_isfolder'] === 'true'

/** A blob that is none for users. */
export const isMarker = (headers: IncomingHttpHeaders): boolean => marksFolder(headers) || headers[`x-ms-meta-${DISCARDED}`] !== undefined

export interface ListedBlob {
  /** Of the whole container. */
  name: string
  sizeBytes: number
  /** A common prefix, or a blob that stands for a folder in a hierarchical namespace or for Hadoop. */
  isFolder: boolean
}

export interface ListQuery {
  prefix: string
  delimiter?: '/'
  /** Blobs with nothing but unfinished uploads too. */
  uncommitted?: boolean
  sizeMax?: number
}

export function blobPath(location: AzureLocation, key: string): string {
  const name = blobName(location, key)
  return name === '' ? location.container : `${location.container}/${name}`
}

/** Name within the container; "" for a whole container. */
export function blobName({ prefix }: AzureLocation, key: string): string {
  return nameBelow(prefix, key)
}

/** Prefix of everything below `key`; "" for a whole container. */
export function folderPrefix({ prefix }: AzureLocation, key: string): string {
  return folderBelow(prefix, key)
}

/** Pages of List Blobs, which may be empty before the last one. */
export async function* listBlobs(
  { client, container }: AzureLocation,
  query: ListQuery,
  signal?: AbortSignal,
): AsyncGenerator<ListedBlob[]> {
  let marker: string | undefined
  do {
    const document = await client.text({
      method: 'GET',
      path: container,
      query: {
        restype: 'container',
        comp: 'list',
        prefix: query.prefix || undefined,
        delimiter: query.delimiter,
        include: query.uncommitted ? 'metadata,uncommittedblobs' : 'metadata',
        maxresults: query.sizeMax === undefined ? undefined : String(query.sizeMax),
        marker,
      },
      signal,
    })
    const result = parseXml(document)
    yield (child(result, 'Blobs')?.children ?? []).flatMap(listed)
    marker = textOf(result, 'NextMarker') || undefined
  } while (marker !== undefined)
}

function listed(element: Element): ListedBlob[] {
  const name = nameOf(element)
  if (element.name === 'BlobPrefix') return [{ name: name.replace(/\/$/, ''), sizeBytes: 0, isFolder: true }]
  const properties = child(element, 'Properties')
  const metadata = child(element, 'Metadata')
  if (metadata?.children.some(({ name: key }) => key.toLowerCase() === DISCARDED)) return []
  const isFolder =
    name.endsWith('/') ||
    textOf(properties, 'ResourceType') === 'directory' ||
    (metadata?.children.some(({ name: key, text }) => key.toLowerCase() === 'hdi_isfolder' && text === 'true') ?? false)
  return [{ name: name.replace(/\/$/, ''), sizeBytes: isFolder ? 0 : Number(textOf(properties, 'Content-Length')), isFolder }]
}

/** Names that XML can't hold come percent-encoded. */
function nameOf(element: Element): string {
  const name = child(element, 'Name')
  return name?.attributes.includes('Encoded="true"') ? decodeURIComponent(name.text) : (name?.text ?? '')
}
