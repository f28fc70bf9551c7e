import { constants, createReadStream, promises as fs, type Stats } from 'node:fs'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import type { ReadResult } from '@millrace/kit/bytes'
import type { Driver, DriverWriteOptions, Entry, ReadOptions, Stat } from '../../driver.ts'
import { isDirectory, noSuchArtifact, resolveRange } from '../../errors.ts'
import { ReceivedMultipart } from '../../received-multipart.ts'
import { MadeFolders } from '../made-folders.ts'
import { isAbsent, localError } from './errors.ts'
import { FolderSync } from './folder-sync.ts'
import { listFolder } from './list.ts'
import { checkContained, joinKey } from './paths.ts'
import { type Folders, writeFile } from './write.ts'

const READ_BUFFER_BYTES = 512 * 1024

/** Up to this size a file is read whole, which saves a stream's set-up. */
const SMALL_FILE_BYTES_MAX = 64 * 1024

/** Files below an absolute path; also for network file systems that are mounted. */
export class LocalDriver implements Driver {
  readonly multipart = new ReceivedMultipart(this)
  readonly #root: string
  readonly #folders: Folders

  constructor(root: string, folders: Folders = { made: new MadeFolders(), sync: new FolderSync() }) {
    this.#root = root
    this.#folders = folders
  }

  async stat(key: string): Promise<Stat | undefined> {
    return this.#do(key, async path => {
      await checkContained(this.#root, path)
      try {
        const found = await fs.stat(path)
        return { isDir: found.isDirectory(), sizeBytes: found.isDirectory() ? 0 : found.size }
      } catch (error) {
        if (isAbsent(error)) return undefined
        throw error
      }
    })
  }

  async *list(key: string): AsyncGenerator<Entry> {
    const path = joinKey(this.#root, key)
    try {
      await checkContained(this.#root, path)
      yield* listFolder(path, this.#folders.made)
    } catch (error) {
      throw localError(error, key)
    }
  }

  async read(key: string, { range, signal }: ReadOptions = {}): Promise<ReadResult> {
    return this.#do(key, async path => {
      await checkContained(this.#root, path)
      signal?.throwIfAborted()
      const file = await openFile(path, key)
      try {
        const stats = await file.stat()
        if (!stats.isFile()) throw stats.isDirectory() ? isDirectory(key) : noSuchArtifact(key)
        return await readOpened(file, stats, range)
      } catch (error) {
        await file.close()
        throw error
      }
    })
  }

  async write(key: string, body: Readable, options: DriverWriteOptions = {}): Promise<void> {
    await this.#do(key, path => writeFile({ root: this.#root, path, key }, body, options, this.#folders))
  }

  async remove(key: string): Promise<void> {
    await this.#do(key, async path => {
      if (key !== '') await checkContained(this.#root, dirname(path))
      try {
        await fs.rm(path, { recursive: true, force: true, maxRetries: 3, retryDelay: 50 })
      } catch (error) {
        if (!isAbsent(error)) throw error
      }
    })
  }

  async #do<T>(key: string, action: (path: string) => Promise<T>): Promise<T> {
    try {
      return await action(joinKey(this.#root, key))
    } catch (error) {
      throw localError(error, key)
    }
  }
}

/** Opens without waiting, so that a named pipe in the folder can't hold the call up. */
async function openFile(path: string, key: string): Promise<fs.FileHandle> {
  try {
    return await fs.open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (isAbsent(error)) throw noSuchArtifact(key, error)
    throw error
  }
}

/** The body of an open file, which closes the file. */
async function readOpened(file: fs.FileHandle, stats: Stats, range: ReadOptions['range']): Promise<ReadResult> {
  const { size, mtime: lastModified } = stats
  const { start, end } = range ? resolveRange(range, size) : { start: 0, end: size - 1 }
  const length = end - start + 1
  const etag = `"${Math.trunc(stats.mtimeMs * 1000).toString(36)}-${size.toString(36)}"`
  const about = { length, size, start, etag, lastModified }
  if (length > SMALL_FILE_BYTES_MAX) {
    return { ...about, body: createReadStream('', { fd: file, start, end, highWaterMark: READ_BUFFER_BYTES }) }
  }
  const buffer = Buffer.allocUnsafe(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, start + done)
    if (bytesRead === 0) throw new Error('the file became shorter while it was read')
    done += bytesRead
  }
  await file.close()
  const body = new Readable({ read: () => undefined })
  if (length > 0) body.push(buffer)
  body.push(null)
  return { ...about, body }
}
