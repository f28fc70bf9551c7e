import { permissionDenied } from '@millrace/kit/errors'
import { isBelow, realPath } from './drivers/local/paths.ts'
import { localPath } from './drivers/local/scheme.ts'

/**
 * Refuses a local location that a client chose outside the operator's folders, also by symbolic links. Whatever is or isn't there, the
 * refusal is the same: it tells nothing of the file system.
 */
export async function checkFolder(location: string, allowed: readonly string[]): Promise<void> {
  const real = await realPath(localPath(location)).catch(() => undefined)
  for (const folder of real === undefined ? [] : allowed) {
    const root = await realPath(folder).catch(() => undefined)
    if (real !== undefined && root !== undefined && isBelow(root, real)) return
  }
  throw permissionDenied(
    `The tracking server does not use artifact location '${location}': it is outside the folders that this server keeps artifacts in. ` +
      'Name its folder with --allowed-artifact-folders, or MILLRACE_ALLOWED_ARTIFACT_FOLDERS, on the server to allow it.',
  )
}
