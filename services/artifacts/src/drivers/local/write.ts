import { randomUUID } from 'node:crypto'
import { promises as fs } from 'node:fs'
import { dirname, join } from 'node:path'
import { addAbortSignal, finished, type Readable } from 'node:stream'
import type { DriverWriteOptions } from '../../driver.ts'
import { folderInTheWay } from '../../errors.ts'
import { TEMPORARY_PREFIX } from '../../keys.ts'
import type { MadeFolders, UploadFolders } from '../made-folders.ts'
import { codeOf } from '../system-errors.ts'
import { isAbsent } from './errors.ts'
import { FileSink } from './file-sink.ts'
import type { FolderSync } from './folder-sync.ts'
import { checkContained } from './paths.ts'
import { pump } from './pump.ts'

/** Bodies up to this size are taken whole before anything is made on the disk. */
const SMALL_BODY_BYTES_MAX = 64 * 1024

/** What the writers of a process know together. */
export interface Folders {
  readonly made: MadeFolders
  readonly sync: FolderSync
}

/** Writes `body` beside `path` under a hidden name, makes it durable and renames it. */
export async function writeFile(
  { root, path, key }: { root: string; path: string; key: string },
  body: Readable,
  options: DriverWriteOptions,
  { made, sync }: Folders,
): Promise<void> {
  const { length, signal } = options
  await checkContained(root, dirname(path))
  await checkTarget(root, path, key)
  const small = length !== undefined && length <= SMALL_BODY_BYTES_MAX ? await takeBody(body, signal) : undefined
  const temporary = join(dirname(path), TEMPORARY_PREFIX + randomUUID())
  using folders = made.enter(dirname(path))
  try {
    const file = await openTemporary(temporary, folders)
    try {
      if (small) {
        await file.writeFile(small)
        await file.datasync()
      } else {
        await pump(body, new FileSink(file), signal)
      }
    } finally {
      await file.close()
    }
    signal?.throwIfAborted()
    await fs.rename(temporary, path)
  } catch (error) {
    await fs.rm(temporary, { force: true })
    for (const folder of folders.own) await fs.rmdir(folder).catch(() => undefined)
    throw error
  }
  // Where entries are new: that of the file, and those of folders which nobody has made durable yet.
  for (const folder of [dirname(path), ...folders.own.map(own => dirname(own))]) await sync.sync(folder)
  folders.keep()
}

/** Fails before the body is read when the target can't be replaced. */
async function checkTarget(root: string, path: string, key: string): Promise<void> {
  try {
    const found = await fs.lstat(path)
    if (found.isDirectory()) throw folderInTheWay(key)
    if (found.isSymbolicLink()) await checkContained(root, path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

function takeBody(body: Readable, signal?: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    if (signal) addAbortSignal(signal, body)
    finished(body, { writable: false }, error => {
      if (error) reject(error)
      else resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks))
    })
    body.on('data', (chunk: Buffer) => chunks.push(chunk))
  })
}

/** Tries again when the folder went away in between: another writer that failed may remove the folders it made. */
async function openTemporary(temporary: string, folders: UploadFolders): Promise<fs.FileHandle> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await fs.open(temporary, 'wx', 0o666)
    } catch (error) {
      if (!isAbsent(error) || attempt === 3) throw error
      const outermost = await fs.mkdir(dirname(temporary), { recursive: true })
      if (outermost !== undefined) folders.made(outermost)
    }
  }
}
