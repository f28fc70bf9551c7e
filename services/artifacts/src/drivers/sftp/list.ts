import { posix } from 'node:path'
import pLimit from 'p-limit'
import type { Entry } from '../../driver.ts'
import { byCodePoint, TEMPORARY_PREFIX } from '../../keys.ts'
import type { MadeFolders } from '../made-folders.ts'
import { isMissing, LostSession, STATUS, statusOf } from './errors.ts'
import type { Child, Session } from './session.ts'

const LINKS_AT_ONCE = 64

/** An upload that wrote nothing for so long has lost its process. */
const STALE_UPLOAD_MS = 24 * 60 * 60 * 1000

/** On links in a circle or into a closed folder. OpenSSH calls the first a failure. */
const UNREADABLE: readonly (number | undefined)[] = [STATUS.failure, STATUS.permissionDenied, STATUS.linkLoop]

/**
 * Children of a folder; links count as what they lead to. Left out are what can't be looked at, folders that uploads have just made, and
 * names in progress, which are removed once they are stale.
 */
export async function listFolder(session: Session, folder: string, made: MadeFolders): Promise<Entry[]> {
  const children = async (path: string) => (await childrenOf(session, path)).map(({ name, type }) => ({ name, isDir: type === 'd' }))
  const entries: Entry[] = []
  const lookedAt: string[] = []
  for (const child of await childrenOf(session, folder)) {
    const { name, type, sizeBytes } = child
    if (name.startsWith(TEMPORARY_PREFIX)) await removeStale(session, folder, child)
    else if (type === 'd' || type === '-') entries.push(entryOf(name, type === 'd', sizeBytes))
    else lookedAt.push(name)
  }
  await pLimit(LINKS_AT_ONCE).map(lookedAt, async name => {
    const stats = await findLinked(session, posix.join(folder, name))
    if (stats) entries.push(entryOf(name, stats.isDirectory(), stats.size))
  })
  const shown: Entry[] = []
  for (const entry of entries) if (!entry.isDir || (await made.isListed(posix.join(folder, entry.name), children))) shown.push(entry)
  return shown.sort((a, b) => byCodePoint(a.name, b.name))
}

async function findLinked(session: Session, path: string) {
  try {
    return await session.find(path)
  } catch (error) {
    if (UNREADABLE.includes(statusOf(error))) return undefined
    throw error
  }
}

/** Nothing for a file or a missing folder. */
export async function childrenOf(session: Session, folder: string): Promise<Child[]> {
  try {
    return await session.list(folder)
  } catch (error) {
    if (isMissing(error)) return []
    if (statusOf(error) === STATUS.failure && !(await session.find(folder))?.isDirectory()) return []
    throw error
  }
}

const entryOf = (name: string, isDir: boolean, sizeBytes: number): Entry => ({ name, isDir, sizeBytes: isDir ? 0 : sizeBytes })

async function removeStale(session: Session, folder: string, { name, type, modifiedAtMs }: Child): Promise<void> {
  if (type === 'd' || Date.now() - modifiedAtMs <= STALE_UPLOAD_MS) return
  try {
    await session.unlink(posix.join(folder, name))
  } catch (error) {
    // Finished, or somebody else's to remove: a listing doesn't fail for it.
    if (error instanceof LostSession) throw error
  }
}
