import type { BlockBlobClient } from '@azure/storage-blob'
import { type AzureLocation, blobNamed, listBlobs } from './blobs.ts'
import { discardBlocks, readBlockList } from './blocks.ts'
import { isMissing } from './errors.ts'

const DELETIONS_AT_ONCE = 16

/** Deletes everything with a prefix, unfinished uploads too, folders of a hierarchical namespace after what is in them. */
export async function removeBelow(location: AzureLocation, prefix: string, signal?: AbortSignal): Promise<void> {
  const folders: string[] = []
  for await (const page of listBlobs(location, { prefix, uncommitted: true }, signal)) {
    const files = page.filter(({ isFolder }) => !isFolder)
    folders.push(...page.filter(({ isFolder }) => isFolder).map(({ name }) => name))
    for (let i = 0; i < files.length; i += DELETIONS_AT_ONCE) {
      const some = files.slice(i, i + DELETIONS_AT_ONCE)
      await Promise.all(some.map(({ name }) => removeBlob(blobNamed(location, name), signal)))
    }
  }
  for (const name of folders.sort().reverse()) await deleteBlob(blobNamed(location, name), signal)
}

/** Deletes a blob with its snapshots and the unfinished uploads in its place. Absent is success. */
export async function removeBlob(blob: BlockBlobClient, signal?: AbortSignal): Promise<void> {
  await deleteBlob(blob, signal)
  const { uncommitted } = await readBlockList(blob, signal)
  if (uncommitted.length > 0) await discardBlocks(blob, signal)
}

async function deleteBlob(blob: BlockBlobClient, abortSignal?: AbortSignal): Promise<void> {
  try {
    await blob.delete({ deleteSnapshots: 'include', abortSignal })
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}
