import type { Readable } from 'node:stream'
import type { ReadResult } from '@millrace/kit/bytes'
import type { Driver, DriverWriteOptions, Entry, ReadOptions, Stat } from '../../driver.ts'
import { isDirectory } from '../../errors.ts'
import { byCodePoint, TEMPORARY_PREFIX } from '../../keys.ts'
import { ReceivedMultipart } from '../../received-multipart.ts'
import { hdfsError, isDenied, RemoteFailure } from './errors.ts'
import type { FileStatus, Files } from './files.ts'
import { joinPath } from './location.ts'
import { readFile } from './read.ts'
import { writeFile } from './write.ts'

/** An upload that wrote nothing for so long has lost its process. */
const STALE_UPLOAD_MS = 24 * 60 * 60 * 1000

/** Files below a path of a cluster's name space. */
export class HdfsDriver implements Driver {
  readonly multipart = new ReceivedMultipart(this)
  readonly #files: Files
  readonly #root: string

  constructor(files: Files, root: string) {
    this.#files = files
    this.#root = root
  }

  async stat(key: string, signal?: AbortSignal): Promise<Stat | undefined> {
    const found = await this.#run(key, path => this.#files.find(path, signal))
    return found && { isDir: isFolder(found), sizeBytes: sizeOf(found) }
  }

  /** Sorted when complete: name nodes order names by signed bytes. */
  async *list(key: string, signal?: AbortSignal): AsyncGenerator<Entry> {
    const found = await this.#run(key, path => this.#files.list(path, signal))
    const entries: Entry[] = []
    for (const child of found) {
      if (child.pathSuffix.startsWith(TEMPORARY_PREFIX)) await this.#removeStale(key, child, signal)
      else if (await this.#isListed(key, child, signal)) {
        entries.push({ name: child.pathSuffix, isDir: isFolder(child), sizeBytes: sizeOf(child) })
      }
    }
    yield* entries.sort((a, b) => byCodePoint(a.name, b.name))
  }

  async read(key: string, { range, signal }: ReadOptions = {}): Promise<ReadResult> {
    return this.#run(key, path => readFile(this.#files, { path, key, range, signal }))
  }

  async write(key: string, body: Readable, { signal }: DriverWriteOptions = {}): Promise<void> {
    if (key === '') throw isDirectory(key)
    try {
      await this.#run(key, path => writeFile(this.#files, body, { path, key, signal }))
    } finally {
      // Also when it was over before the cluster was asked.
      if (signal?.aborted) body.destroy()
    }
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    await this.#run(key, async path => {
      if (key !== '') await this.#files.remove(path, { recursive: true, signal })
      else await this.#removeRoot(signal)
    })
  }

  /** The folder around a root may be closed to the server, and `/` stays: an empty root is as good as none. */
  async #removeRoot(signal?: AbortSignal): Promise<void> {
    try {
      if (this.#root !== '/' && (await this.#files.remove(this.#root, { recursive: true, signal }))) return
    } catch (error) {
      if (!(error instanceof RemoteFailure && isDenied(error))) throw error
    }
    for (const { pathSuffix } of await this.#files.list(this.#root, signal)) {
      await this.#files.remove(joinPath(this.#root, pathSuffix), { recursive: true, signal })
    }
  }

  /** Listing goes on where the server may not remove. */
  async #isListed(key: string, child: FileStatus, signal?: AbortSignal): Promise<boolean> {
    if (!isFolder(child)) return true
    const children = async (folder: string) =>
      (await this.#files.list(folder, signal)).map(one => ({ name: one.pathSuffix, isDir: isFolder(one) }))
    return this.#run(key, path => this.#files.madeFolders.isListed(joinPath(path, child.pathSuffix), children))
  }

  async #removeStale(key: string, { pathSuffix, modificationTime }: FileStatus, signal?: AbortSignal): Promise<void> {
    if (Date.now() - modificationTime <= STALE_UPLOAD_MS) return
    await this.#run(key, path => this.#files.remove(joinPath(path, pathSuffix), { recursive: false, signal })).catch(() => undefined)
  }

  async #run<T>(key: string, action: (path: string) => Promise<T>): Promise<T> {
    try {
      return await action(joinPath(this.#root, key))
    } catch (error) {
      throw hdfsError(error, key)
    }
  }
}

function isFolder({ type }: FileStatus): boolean {
  return type === 'DIRECTORY'
}

function sizeOf({ type, length }: FileStatus): number {
  return type === 'FILE' ? length : 0
}
