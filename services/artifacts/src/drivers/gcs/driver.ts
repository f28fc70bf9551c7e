import type { Readable } from 'node:stream'
import type { ReadResult } from '@millrace/kit/bytes'
import { invalidParameter } from '@millrace/kit/errors'
import type { Driver, DriverWriteOptions, Entry, Multipart, Presign, ReadOptions, Stat } from '../../driver.ts'
import { isDirectory, noSuchArtifact, rangeNotSatisfiable } from '../../errors.ts'
import type { Hold } from '../../held-bytes.ts'
import { byCodePoint } from '../../keys.ts'
import { gcsError, hasStatus, isMissing, noSuchBucket } from './errors.ts'
import { folderPrefix, type GcsLocation, objectName } from './location.ts'
import { GcsMultipart } from './multipart.ts'
import { deleteBelow, deleteObject, metadataOf, pages } from './objects.ts'
import { GcsPresign } from './presign.ts'
import { read } from './read.ts'
import { hold, upload } from './upload.ts'

const FOLDER: Stat = { isDir: true, sizeBytes: 0 }

/** Objects below a prefix of a bucket; a folder is a common prefix. An object whose name ends with `/` only marks a folder. */
export class GcsDriver implements Driver {
  readonly multipart: Multipart | undefined
  readonly presign: Presign | undefined
  readonly #location: GcsLocation

  constructor(location: GcsLocation) {
    this.#location = location
    if (location.canSign) {
      this.multipart = new GcsMultipart(location)
      this.presign = new GcsPresign(location)
    }
  }

  async stat(key: string, signal?: AbortSignal): Promise<Stat | undefined> {
    const name = objectName(this.#location, key)
    try {
      if (name === '') return (await this.#isFolder(key, signal)) ? FOLDER : undefined
      const { size } = await metadataOf(this.#location, name, 'size', signal)
      return { isDir: false, sizeBytes: Number(size) }
    } catch (error) {
      if (!isMissing(error)) throw gcsError(error, key)
      return (await this.#isFolder(key, signal)) ? FOLDER : undefined
    }
  }

  /** Sorted when complete: the store orders a folder by its name with a slash, so `a.txt` comes before what is in `a`. */
  async *list(key: string, signal?: AbortSignal): AsyncGenerator<Entry> {
    const prefix = folderPrefix(this.#location, key)
    const entries: Entry[] = []
    for await (const page of this.#pages({ prefix, delimiter: '/' }, key, signal)) {
      for (const folder of page.prefixes ?? []) entries.push({ name: folder.slice(prefix.length, -1), isDir: true, sizeBytes: 0 })
      for (const { name, size } of page.items ?? []) {
        if (!name.endsWith('/')) entries.push({ name: name.slice(prefix.length), isDir: false, sizeBytes: Number(size) })
      }
    }
    yield* entries.sort((a, b) => byCodePoint(a.name, b.name))
  }

  async read(key: string, { range, signal }: ReadOptions = {}): Promise<ReadResult> {
    if (objectName(this.#location, key) === '') throw isDirectory(key)
    try {
      return await read(this.#location, key, range, signal)
    } catch (error) {
      if (range && hasStatus(error, 416)) throw rangeNotSatisfiable(range)
      if (!isMissing(error)) throw gcsError(error, key)
      throw (await this.#isFolder(key, signal)) ? isDirectory(key, error) : noSuchArtifact(key, error)
    }
  }

  async write(key: string, body: Readable, options: DriverWriteOptions = {}): Promise<void> {
    if (objectName(this.#location, key) === '') throw isDirectory(key)
    try {
      await upload(this.#location, key, body, options)
    } catch (error) {
      throw isMissing(error) ? noSuchBucket(error) : gcsError(error, key)
    }
  }

  hold(length: number | undefined): Hold {
    return hold(this.#location, length)
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    const name = objectName(this.#location, key)
    if (name === '') throw invalidParameter('Invalid path')
    try {
      await deleteObject(this.#location, name, signal)
      await deleteBelow(this.#location, folderPrefix(this.#location, key), signal)
    } catch (error) {
      throw isMissing(error) ? noSuchBucket(error) : gcsError(error, key)
    }
  }

  async #isFolder(key: string, signal?: AbortSignal): Promise<boolean> {
    for await (const page of this.#pages({ prefix: folderPrefix(this.#location, key), maxResults: 1 }, key, signal)) {
      if (page.items?.length) return true
    }
    return false
  }

  async *#pages(query: { prefix: string; delimiter?: string; maxResults?: number }, key: string, signal?: AbortSignal) {
    try {
      yield* pages(this.#location, query, signal)
    } catch (error) {
      throw isMissing(error) ? noSuchBucket(error) : gcsError(error, key)
    }
  }
}
