import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import type { ReadResult, UploadPart, WriteOptions } from '@millrace/kit/bytes'
import { invalidParameter, notImplemented } from '@millrace/kit/errors'
import { guessType } from '@millrace/kit/media-types'
import type { Driver, Entry, Multipart, PartWriteOptions, Presign, ReadOptions, Stat } from './driver.ts'
import { namedAs, noSuchArtifact } from './errors.ts'
import type { Hold } from './held-bytes.ts'
import { checkKey, checkWritable, isTemporary } from './keys.ts'

/**
 * What every store promises whatever its driver: paths are checked, uploads in progress are not to be seen, content types
 * go by name, a capability that the store lacks is NOT_IMPLEMENTED in MLflow's words. Otherwise as stated on Driver.
 */
export class ArtifactStore {
  readonly #driver: Driver

  constructor(driver: Driver) {
    this.#driver = driver
  }

  async stat(path: string, signal?: AbortSignal): Promise<Stat | undefined> {
    const key = checkKey(path)
    return isTemporary(key) ? undefined : this.#driver.stat(key, signal)
  }

  async *list(path: string, signal?: AbortSignal): AsyncIterable<Entry> {
    const key = checkKey(path)
    if (isTemporary(key)) return
    for await (const entry of this.#driver.list(key, signal)) {
      if (!isTemporary(entry.name)) yield entry
    }
  }

  async read(path: string, options?: ReadOptions): Promise<ReadResult> {
    const key = checkKey(path)
    if (isTemporary(key)) throw noSuchArtifact(path)
    try {
      return await this.#driver.read(key, options)
    } catch (error) {
      throw path === key ? error : namedAs(path, key, error)
    }
  }

  /** @param options with what `hold` gave for the body. */
  async write(path: string, body: Readable, options: WriteOptions & { hold?: Hold } = {}): Promise<void> {
    const key = checkWritable(path)
    const { type, encoding } = guessType(posix.basename(key))
    const { length, hold, signal } = options
    await this.#driver.write(key, body, { contentType: type ?? options.contentType, contentEncoding: encoding, length, hold, signal })
  }

  /** Reserves the most that an upload of that length holds in this process until the store has taken it; undefined: it passes through. */
  hold(length: number | undefined): Hold | undefined {
    return this.#driver.hold?.(length)
  }

  async remove(path: string, signal?: AbortSignal): Promise<void> {
    const key = checkKey(path)
    if (!isTemporary(key)) await this.#driver.remove(key, signal)
  }

  get capabilities(): { multipart: boolean; receivedParts: boolean; presignedDownload: boolean; presignedUpload: boolean } {
    const { multipart, presign } = this.#driver
    return {
      multipart: multipart !== undefined,
      receivedParts: multipart?.isReceiving ?? multipart?.receive !== undefined,
      presignedDownload: presign !== undefined,
      presignedUpload: presign?.upload !== undefined,
    }
  }

  /** The store's multipart upload with a checked key. */
  multipart(path: string): { multipart: Multipart; key: string } {
    const { multipart } = this.#driver
    if (!multipart) throw notImplemented('Multipart upload is not supported for the current artifact repository')
    return { multipart, key: checkWritable(path) }
  }

  /** @returns the part's ETag. */
  async writePart(part: UploadPart, body: Readable, { length, signal }: PartWriteOptions = {}): Promise<string> {
    const { multipart } = this.#driver
    if (!multipart?.receive) throw invalidParameter('The parts of uploads to this store do not come through the server')
    return multipart.receive(part, body, { length, signal })
  }

  /** The store's signing of URLs with a checked key. */
  presign(path: string, direction: 'download' | 'upload'): { presign: Presign; key: string } {
    const { presign } = this.#driver
    if (!presign?.[direction]) throw notImplemented(`Presigned ${direction} is not supported for the current artifact repository`)
    return { presign, key: direction === 'upload' ? checkWritable(path) : checkKey(path) }
  }
}
