import { child, parseXml } from '../xml.ts'
import { type AzureLocation, DISCARDED } from './blobs.ts'
import { isMissing, statusOf } from './errors.ts'

/*
 * An upload in several parts stages blocks at the place of its blob: they are not to be seen, leave the blob of before alone, and become the
 * blob at once with the block list. A block's name tells its upload, and all names are equally long, as Azure demands of a blob's blocks.
 */

const UPLOAD_ID = /^[0-9a-f]{32}$/
/** Stands for "this upload was aborted" among the blocks of an upload, whose parts count from 1. */
const TOMBSTONE = 0

export const isUploadId = (uploadId: string): boolean => UPLOAD_ID.test(uploadId)

export function blockId(uploadId: string, number: number): string {
  return Buffer.from(`${uploadId}-${String(number).padStart(5, '0')}`).toString('base64')
}

const belongsTo = (uploadId: string) => (id: string) => Buffer.from(id, 'base64').toString().startsWith(`${uploadId}-`)

export interface BlockList {
  committed: string[]
  uncommitted: string[]
}

/** Empty where nothing is. */
export async function readBlockList({ client }: AzureLocation, path: string, signal?: AbortSignal): Promise<BlockList> {
  try {
    const document = parseXml(await client.text({ method: 'GET', path, query: { comp: 'blocklist', blocklisttype: 'all' }, signal }))
    const ids = (name: string) => (child(document, name)?.children ?? []).map(block => child(block, 'Name')?.text ?? '')
    return { committed: ids('CommittedBlocks'), uncommitted: ids('UncommittedBlocks') }
  } catch (error) {
    if (isMissing(error)) return { committed: [], uncommitted: [] }
    throw error
  }
}

export async function stageBlock({ client }: AzureLocation, path: string, id: string, bytes: Buffer, signal?: AbortSignal): Promise<void> {
  await client.headers({ method: 'PUT', path, query: { comp: 'block', blockid: id }, body: bytes, signal })
}

export interface BlobProperties {
  contentType?: string
  contentEncoding?: string
}

export async function commitBlocks(
  location: AzureLocation,
  path: string,
  ids: readonly string[],
  { contentType, contentEncoding }: BlobProperties,
  signal?: AbortSignal,
): Promise<void> {
  await putBlockList(location, path, ids, { 'x-ms-blob-content-type': contentType, 'x-ms-blob-content-encoding': contentEncoding }, signal)
}

/** @returns the blob's ETag. */
async function putBlockList(
  { client }: AzureLocation,
  path: string,
  ids: readonly string[],
  headers: Record<string, string | undefined>,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const list = ids.map(id => `<Uncommitted>${id}</Uncommitted>`).join('')
  const { etag } = await client.headers({
    method: 'PUT',
    path,
    query: { comp: 'blocklist' },
    headers: { ...headers, 'content-type': 'application/xml' },
    body: Buffer.from(`<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`),
    signal,
  })
  return etag
}

/** What is left to be told about an upload whose commit isn't known to have succeeded. */
export type UploadState = 'committed' | 'staged' | 'incomplete' | 'unknown'

export async function stateOf(
  location: AzureLocation,
  path: string,
  uploadId: string,
  ids: readonly string[],
  signal?: AbortSignal,
): Promise<UploadState> {
  const { committed, uncommitted } = await readBlockList(location, path, signal)
  if (committed.length === ids.length && committed.every((id, i) => id === ids[i])) return 'committed'
  const staged = new Set(uncommitted.filter(belongsTo(uploadId)))
  if (staged.size === 0 || staged.has(blockId(uploadId, TOMBSTONE))) return 'unknown'
  return ids.every(id => staged.has(id)) ? 'staged' : 'incomplete'
}

/**
 * Makes the store forget an upload. Azure has no call for that; it drops a place's blocks when a list without them is committed. Where no
 * blob is and nobody else uploads, an empty list is committed, and the empty blob of it deleted. Otherwise a block is added that forbids
 * the completion, and the store drops the blocks with the next write of the blob, or after a week.
 */
export async function abandon(location: AzureLocation, path: string, uploadId: string, signal?: AbortSignal): Promise<void> {
  const { committed, uncommitted } = await readBlockList(location, path, signal)
  const own = uncommitted.filter(belongsTo(uploadId))
  const tombstone = blockId(uploadId, TOMBSTONE)
  if (own.length === 0) return
  const alone = committed.length === 0 && own.length === uncommitted.length
  if (alone && (await discardBlocks(location, path, signal))) return
  if (!own.includes(tombstone)) await stageBlock(location, path, tombstone, Buffer.from('-'), signal)
}

/** Drops all blocks at a place where no blob is. @returns false when there is a blob. */
export async function discardBlocks(location: AzureLocation, path: string, signal?: AbortSignal): Promise<boolean> {
  const { client } = location
  try {
    const etag = await putBlockList(location, path, [], { [`x-ms-meta-${DISCARDED}`]: '1', 'if-none-match': '*' }, signal).catch(
      async error => {
        if (statusOf(error) !== 409) throw error
        // Either a blob, or what an attempt of before has put.
        const found = await client.headers({ method: 'HEAD', path, signal })
        return found[`x-ms-meta-${DISCARDED}`] === undefined ? undefined : found.etag
      },
    )
    if (etag === undefined) return false
    await client.headers({ method: 'DELETE', path, headers: { 'if-match': etag }, signal })
    return true
  } catch (error) {
    if (statusOf(error) === 412) return false
    if (isMissing(error)) return true
    throw error
  }
}
