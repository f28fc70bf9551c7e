import { posix } from 'node:path'
import { isMissing, STATUS, statusOf } from './errors.ts'
import { childrenOf } from './list.ts'
import { Pipeline } from './pipeline.ts'
import type { Session } from './session.ts'

const REMOVALS_AT_ONCE_MAX = 32

/** Attempts at a folder in which something appears meanwhile. */
const ATTEMPTS_MAX = 3

/** Removes a file, a link (never what it leads to) or a folder with everything below it. Absent is success. */
export async function removeTree(session: Session, path: string, signal?: AbortSignal): Promise<void> {
  const found = await session.findLink(path)
  if (found?.isDirectory()) await removeFolder(session, path, signal)
  else if (found) await session.unlink(path).catch(allowMissing)
}

async function removeFolder(session: Session, path: string, signal?: AbortSignal): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const pipeline = new Pipeline(REMOVALS_AT_ONCE_MAX)
    for (const { filename, attrs } of await childrenOf(session, path)) {
      signal?.throwIfAborted()
      const child = posix.join(path, filename)
      if (attrs.isDirectory()) await removeFolder(session, child, signal)
      else await pipeline.add(session.unlink(child).catch(allowMissing))
    }
    await pipeline.end()
    try {
      return await session.rmdir(path).catch(allowMissing)
    } catch (error) {
      const status = statusOf(error)
      if ((status !== STATUS.failure && status !== STATUS.folderNotEmpty) || attempt === ATTEMPTS_MAX) throw error
    }
  }
}

function allowMissing(error: unknown): void {
  if (!isMissing(error)) throw error
}
