import { type AzureLocation, listBlobs } from './blobs.ts'
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
      await Promise.all(some.map(({ name }) => removeBlob(location, `${location.container}/${name}`, signal)))
    }
  }
  for (const name of folders.sort().reverse()) await deleteBlob(location, `${location.container}/${name}`, signal)
}

/** Deletes a blob with its snapshots and the unfinished uploads in its place. Absent is success. */
export async function removeBlob(location: AzureLocation, path: string, signal?: AbortSignal): Promise<void> {
  await deleteBlob(location, path, signal)
  const { uncommitted } = await readBlockList(location, path, signal)
  if (uncommitted.length > 0) await discardBlocks(location, path, signal)
}

async function deleteBlob({ client }: AzureLocation, path: string, signal?: AbortSignal): Promise<void> {
  try {
    await client.headers({ method: 'DELETE', path, headers: { 'x-ms-delete-snapshots': 'include' }, signal })
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}
