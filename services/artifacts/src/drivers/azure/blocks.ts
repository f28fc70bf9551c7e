import type { BlobHTTPHeaders, BlockBlobClient } from '@azure/storage-blob'
import { DISCARDED } from './blobs.ts'
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
export async function readBlockList(blob: BlockBlobClient, abortSignal?: AbortSignal): Promise<BlockList> {
  try {
    const { committedBlocks = [], uncommittedBlocks = [] } = await blob.getBlockList('all', { abortSignal })
    return { committed: committedBlocks.map(({ name }) => name), uncommitted: uncommittedBlocks.map(({ name }) => name) }
  } catch (error) {
    if (isMissing(error)) return { committed: [], uncommitted: [] }
    throw error
  }
}

export interface BlobProperties {
  contentType?: string
  contentEncoding?: string
}

export const httpHeaders = ({ contentType, contentEncoding }: BlobProperties): BlobHTTPHeaders => ({
  blobContentType: contentType,
  blobContentEncoding: contentEncoding,
})

/** What is left to be told about an upload whose commit isn't known to have succeeded. */
export type UploadState = 'committed' | 'staged' | 'incomplete' | 'unknown'

export async function stateOf(blob: BlockBlobClient, uploadId: string, ids: readonly string[], signal?: AbortSignal): Promise<UploadState> {
  const { committed, uncommitted } = await readBlockList(blob, signal)
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
export async function abandon(blob: BlockBlobClient, uploadId: string, signal?: AbortSignal): Promise<void> {
  const { committed, uncommitted } = await readBlockList(blob, signal)
  const own = uncommitted.filter(belongsTo(uploadId))
  const tombstone = blockId(uploadId, TOMBSTONE)
  if (own.length === 0) return
  const alone = committed.length === 0 && own.length === uncommitted.length
  if (alone && (await discardBlocks(blob, signal))) return
  if (!own.includes(tombstone)) await blob.stageBlock(tombstone, '-', 1, { abortSignal: signal })
}

/** Drops all blocks at a place where no blob is. @returns false when there is a blob. */
export async function discardBlocks(blob: BlockBlobClient, abortSignal?: AbortSignal): Promise<boolean> {
  try {
    const etag = await commitNothing(blob, abortSignal)
    if (etag === undefined) return false
    await blob.delete({ conditions: { ifMatch: etag }, abortSignal })
    return true
  } catch (error) {
    if (statusOf(error) === 412) return false
    if (isMissing(error)) return true
    throw error
  }
}

/** @returns the ETag of the empty blob; undefined when a blob is there. */
async function commitNothing(blob: BlockBlobClient, abortSignal?: AbortSignal): Promise<string | undefined> {
  try {
    const { etag } = await blob.commitBlockList([], { metadata: { [DISCARDED]: '1' }, conditions: { ifNoneMatch: '*' }, abortSignal })
    return etag
  } catch (error) {
    if (statusOf(error) !== 409) throw error
    // Either a blob, or what an earlier attempt has put.
    const { etag, metadata } = await blob.getProperties({ abortSignal })
    return metadata?.[DISCARDED] === undefined ? undefined : etag
  }
}
