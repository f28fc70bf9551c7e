import { posix } from 'node:path'
import pLimit from 'p-limit'
import { isMissing, STATUS, statusOf } from './errors.ts'
import { childrenOf } from './list.ts'
import type { Child, Session } from './session.ts'

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
    const children = await childrenOf(session, path)
    const limit = pLimit(REMOVALS_AT_ONCE_MAX)
    const remove = async ({ name, type }: Child) => {
      signal?.throwIfAborted()
      const child = posix.join(path, name)
      if (type === undefined) await removeTree(session, child, signal)
      else await session.unlink(child).catch(allowMissing)
    }
    try {
      await limit.map(
        children.filter(({ type }) => type !== 'd'),
        remove,
      )
    } finally {
      limit.clearQueue()
    }
    for (const { name, type } of children) {
      signal?.throwIfAborted()
      if (type === 'd') await removeFolder(session, posix.join(path, name), signal)
    }
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
