import { posix } from 'node:path'
import { permissionDenied } from '@millrace/kit/errors'
import type { Client } from 'basic-ftp'
import type { Entry, Stat } from '../../driver.ts'
import { fileInTheWay } from '../../errors.ts'
import { byCodePoint, TEMPORARY_PREFIX } from '../../keys.ts'
import type { MadeFolders, UploadFolders } from '../made-folders.ts'
import { isAbsent, isBusy, replyOf } from './errors.ts'

/** An upload that wrote nothing for so long has lost its process, or its server. */
const STALE_UPLOAD_MS = 24 * 60 * 60 * 1000

/** Bytes of a file; undefined for a folder and for nothing. */
export async function sizeOf(client: Client, path: string): Promise<number | undefined> {
  try {
    return await client.size(path)
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw error
  }
}

/** Makes a folder the session's own; false for a file and for nothing. */
export async function enter(client: Client, path: string): Promise<boolean> {
  try {
    await client.cd(path)
    return true
  } catch (error) {
    if (isAbsent(error)) return false
    throw error
  }
}

export async function statPath(client: Client, path: string): Promise<Stat | undefined> {
  const sizeBytes = path === '/' ? undefined : await sizeOf(client, path)
  if (sizeBytes !== undefined) return { isDir: false, sizeBytes }
  return (await enter(client, path)) ? { isDir: true, sizeBytes: 0 } : undefined
}

/** When a file was written last; undefined where the server doesn't say. */
export async function modifiedOf(client: Client, path: string): Promise<Date | undefined> {
  try {
    const time = await client.lastMod(path)
    return Number.isNaN(time.getTime()) ? undefined : time
  } catch (error) {
    if (replyOf(error) === undefined) throw error
    return undefined
  }
}

/**
 * What is directly in a folder: by MLSD, else by LIST from within, since servers read more into a path after LIST than its name. Left
 * out are links that can't be followed, folders that uploads have just made, and files in progress, which are removed once they are stale.
 */
export async function listPath(client: Client, path: string, made: MadeFolders): Promise<Entry[]> {
  if (!(await enter(client, path))) return []
  const entries: Entry[] = []
  for (const info of await client.list()) {
    const { name } = info
    if (name === '.' || name === '..' || name.includes('/')) continue
    if (info.isFile && name.startsWith(TEMPORARY_PREFIX)) await removeStale(client, posix.join(path, name))
    else if (info.isSymbolicLink) {
      const found = await statPath(client, posix.join(path, name)).catch(undefinedIfRefused)
      if (found) entries.push({ name, ...found })
    } else if (info.isDirectory || info.isFile) {
      entries.push({ name, isDir: info.isDirectory, sizeBytes: info.isDirectory ? 0 : info.size })
    }
  }
  const shown: Entry[] = []
  for (const entry of entries) {
    if (!entry.isDir || (await made.isListed(posix.join(path, entry.name), folder => listPath(client, folder, made)))) shown.push(entry)
  }
  return shown.sort((a, b) => byCodePoint(a.name, b.name))
}

function undefinedIfRefused(error: unknown): undefined {
  if (replyOf(error) === undefined || isBusy(error)) throw error
}

/** What is finished meanwhile, or somebody else's to remove, stays. */
async function removeStale(client: Client, path: string): Promise<void> {
  const modified = await modifiedOf(client, path)
  if (modified && Date.now() - modified.getTime() > STALE_UPLOAD_MS) await client.sendIgnoringError(`DELE ${path}`)
}

/**
 * Removes a file, or a folder with everything in it. Whatever it is, it is first taken for a file, because a server may list a link to a
 * folder as one, and what it leads to is not ours to remove.
 */
export async function removePath(client: Client, path: string, mayStay = false): Promise<void> {
  if (path === '/') return removeChildren(client, path)
  try {
    await client.remove(path)
    return
  } catch (error) {
    if (!isAbsent(error) && replyOf(error) !== 550) throw error
    if (!(await enter(client, path))) {
      // Not a folder: refused for good when it is still there.
      if ((await sizeOf(client, path)) !== undefined) throw error
      return
    }
  }
  await removeChildren(client, path)
  try {
    await client.removeEmptyDir(path)
  } catch (error) {
    if (replyOf(error) === undefined || (!mayStay && (await enter(client, path)))) throw error
  }
}

async function removeChildren(client: Client, path: string): Promise<void> {
  await enter(client, path)
  const names = (await client.list()).map(({ name }) => name).filter(name => name !== '.' && name !== '..' && !name.includes('/'))
  for (const name of names) await removePath(client, posix.join(path, name))
}

/** Makes a folder and those around it, as far as they are missing. */
export async function makeFolder(client: Client, path: string, key: string, folders: UploadFolders): Promise<void> {
  if (path === '/' || (await make(client, path, folders)) || (await enter(client, path))) return
  await makeFolder(client, posix.dirname(path), key, folders)
  if ((await make(client, path, folders)) || (await enter(client, path))) return
  if ((await sizeOf(client, path)) !== undefined) throw fileInTheWay(key)
  throw permissionDenied(`The artifact store makes no folder for artifact '${key}'`)
}

async function make(client: Client, path: string, folders: UploadFolders): Promise<boolean> {
  try {
    await client.send(`MKD ${path}`)
    folders.made(path)
    return true
  } catch (error) {
    if (replyOf(error) === undefined || isBusy(error)) throw error
    return false
  }
}
