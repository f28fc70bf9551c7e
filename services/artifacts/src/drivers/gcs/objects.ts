import type { FileMetadata, GetFilesOptions } from '@google-cloud/storage'
import { eachAtOnce } from '../../concurrency.ts'
import { isMissing } from './errors.ts'
import { bucketOf, type GcsLocation } from './location.ts'

const DELETES_AT_ONCE = 32

export interface Page {
  items?: (FileMetadata & { name: string })[]
  prefixes?: string[]
}

/** Every page of a listing, in the order of names. */
export async function* pages(
  location: GcsLocation,
  query: { prefix: string; delimiter?: string; maxResults?: number },
  signal?: AbortSignal,
): AsyncGenerator<Page> {
  const fields = 'items(name,size,generation,md5Hash),prefixes,nextPageToken'
  for (let next: GetFilesOptions | null = { ...query, fields, autoPaginate: false }; next; ) {
    const [, following, page] = (await bucketOf(location, signal).getFiles(next)) as [unknown, GetFilesOptions | null, Page]
    yield page
    next = following
  }
}

/** Absent is success, of the bucket too. */
export async function deleteObject(location: GcsLocation, name: string, signal?: AbortSignal): Promise<void> {
  await bucketOf(location, signal).file(name).delete({ ignoreNotFound: true })
}

export async function deleteBelow(location: GcsLocation, prefix: string, signal?: AbortSignal): Promise<void> {
  for await (const { items = [] } of pages(location, { prefix }, signal)) {
    await eachAtOnce(items, DELETES_AT_ONCE, ({ name }) => deleteObject(location, name, signal))
  }
}

/** @throws ApiError 404 when nothing is at the name. */
export async function metadataOf(location: GcsLocation, name: string, fields: 'size' | 'metadata', signal?: AbortSignal) {
  const [metadata] = await bucketOf(location, signal).file(name).getMetadata({ fields })
  return metadata
}

/** Undefined when nothing is at the name. */
export async function orUndefined<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}
