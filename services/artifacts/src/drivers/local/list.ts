import { type Dirent, promises as fs } from 'node:fs'
import { join } from 'node:path'
import type { Entry } from '../../driver.ts'
import { byCodePoint, TEMPORARY_PREFIX } from '../../keys.ts'
import type { MadeFolders } from '../made-folders.ts'
import { codeOf } from '../system-errors.ts'
import { isAbsent } from './errors.ts'

const STATS_AT_ONCE = 64

/** An upload that wrote nothing for so long has lost its process. */
const STALE_UPLOAD_MS = 24 * 60 * 60 * 1000

/** On what nobody can read: a link in a circle or into a closed folder. */
const UNREADABLE = new Set(['ELOOP', 'EACCES', 'EPERM', 'ENAMETOOLONG'])

/**
 * Children of a folder with their sizes. Left out are what can't be looked at, folders that uploads have just made, and names in progress,
 * which are removed once they are stale.
 */
export async function* listFolder(folder: string, made: MadeFolders): AsyncGenerator<Entry> {
  let children: Dirent[]
  try {
    children = await fs.readdir(folder, { withFileTypes: true })
  } catch (error) {
    if (isAbsent(error)) return
    throw error
  }
  children.sort((a, b) => byCodePoint(a.name, b.name))
  for (let i = 0; i < children.length; i += STATS_AT_ONCE) {
    const entries = await Promise.all(children.slice(i, i + STATS_AT_ONCE).map(child => entryOf(folder, child, made)))
    for (const entry of entries) if (entry) yield entry
  }
}

async function entryOf(folder: string, child: Dirent, made: MadeFolders): Promise<Entry | undefined> {
  const { name } = child
  const path = join(folder, name)
  if (name.startsWith(TEMPORARY_PREFIX)) return child.isDirectory() ? undefined : removeStale(path)
  if (child.isDirectory()) return (await made.isListed(path, childrenOf)) ? { name, isDir: true, sizeBytes: 0 } : undefined
  try {
    const found = await fs.stat(path)
    return { name, isDir: found.isDirectory(), sizeBytes: found.isDirectory() ? 0 : found.size }
  } catch (error) {
    if (isAbsent(error) || UNREADABLE.has(codeOf(error) ?? '')) return undefined
    throw error
  }
}

async function childrenOf(folder: string): Promise<{ name: string; isDir: boolean }[]> {
  try {
    return (await fs.readdir(folder, { withFileTypes: true })).map(child => ({ name: child.name, isDir: child.isDirectory() }))
  } catch {
    return []
  }
}

async function removeStale(path: string): Promise<undefined> {
  try {
    const { mtimeMs } = await fs.lstat(path)
    if (Date.now() - mtimeMs > STALE_UPLOAD_MS) await fs.unlink(path)
  } catch {
    // Finished, or somebody else's to remove: a listing doesn't fail for it.
  }
  return undefined
}
