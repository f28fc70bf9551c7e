import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { UploadPart } from '@millrace/kit/bytes'
import { doesNotExist, invalidParameter, MlflowError } from '@millrace/kit/errors'
import { guessType } from '@millrace/kit/media-types'
import pLimit, { type LimitFunction } from 'p-limit'
import { whenFree } from './concurrency.ts'
import type { Driver, Multipart, PartTarget, PartWriteOptions, SentPart } from './driver.ts'
import { folderInTheWay } from './errors.ts'
import { RECEIVED_PARTS } from './keys.ts'
import { concatenation, isConcatenation, type PartTag, parsePartTag, partTooLarge, TaggedBody } from './part-tags.ts'

/** The largest part that S3 takes. */
const PART_SIZE_BYTES_MAX = 5 * 1024 ** 3
const PARTS_MAX = 10_000
const UPLOAD_ID_BYTES = 24

/** Each reads and writes at once, so that they must not have every connection to the store. */
const JOINS_MAX = 16

/** Says that an upload is open, and holds the key that it is for. */
const MARKER = 'key'

/**
 * Multipart upload for a store that has none: parts are kept in the store itself, in a folder that is hidden from clients, and joined by
 * one write. Everything about an upload is in the store, so any process serves any call. An upload is open as long as its marker is there.
 */
export class ReceivedMultipart implements Multipart {
  readonly partsMax = PARTS_MAX
  readonly #driver: Driver
  readonly #partSizeBytesMax: number
  readonly #joins: LimitFunction

  constructor(driver: Driver, { partSizeBytesMax = PART_SIZE_BYTES_MAX, joinsMax = JOINS_MAX } = {}) {
    this.#driver = driver
    this.#partSizeBytesMax = partSizeBytesMax
    this.#joins = pLimit(Math.min(joinsMax, JOINS_MAX))
  }

  async start(key: string, partCount: number, signal?: AbortSignal): Promise<{ uploadId: string; parts: PartTarget[] }> {
    if (key === '' || (await this.#driver.stat(key, signal))?.isDir) throw folderInTheWay(key)
    const uploadId = newUploadId(partCount)
    const marker = Buffer.from(key)
    const body = Readable.from([marker], { objectMode: false })
    await this.#driver.write(`${folderOf(uploadId)}/${MARKER}`, body, { length: marker.length, signal })
    return { uploadId, parts: Array.from({ length: partCount }, (_, i) => ({ partNumber: i + 1, url: '', headers: {} })) }
  }

  async receive({ uploadId, partNumber }: UploadPart, body: Readable, { length, signal }: PartWriteOptions = {}): Promise<string> {
    const about = parseUploadId(uploadId)
    if (!about || (await this.#keyOf(uploadId, signal)) === undefined) throw noSuchUpload()
    if (!Number.isInteger(partNumber) || partNumber < 1 || partNumber > about.partCount) {
      throw invalidParameter(`part_number must be between 1 and ${about.partCount} (got ${partNumber}).`)
    }
    if (length !== undefined && length > this.#partSizeBytesMax) throw partTooLarge(this.#partSizeBytesMax)
    const folder = folderOf(uploadId)
    const tagged = new TaggedBody(body, this.#partSizeBytesMax)
    try {
      await this.#driver.write(`${folder}/${partNumber}`, tagged, { length, signal })
    } catch (error) {
      if ((await this.#keyOf(uploadId).catch(() => '')) === undefined) throw noSuchUpload(error)
      throw tagged.failure ?? asPart(error, folder)
    } finally {
      tagged.destroy()
    }
    // Whoever ends an upload takes its marker away first and then its folder: a part that was written in between goes here.
    if ((await this.#keyOf(uploadId, signal)) !== undefined) return tagged.tag
    await this.#driver.remove(folder, signal)
    throw noSuchUpload()
  }

  async complete(key: string, uploadId: string, parts: readonly SentPart[], signal?: AbortSignal): Promise<void> {
    const tags = parts.map(part => parsePartTag(part.etag))
    try {
      const target = await this.#keyOf(uploadId, signal)
      if (target !== key) throw noSuchUpload()
      const known = await this.#checkParts(uploadId, parts, tags, signal)
      await whenFree(this.#joins, signal, () => this.#join(key, uploadId, known, signal))
    } catch (error) {
      // Somebody else may have completed it, now or long ago.
      const isOpen = (await this.#keyOf(uploadId, signal)) === key
      if (isOpen || !(await isConcatenation(this.#driver, key, tags, signal))) throw error
    }
    await this.#forget(uploadId, signal)
  }

  async abort(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    const target = await this.#keyOf(uploadId, signal)
    if (target === undefined || target === key) await this.#forget(uploadId, signal)
  }

  /** The key that an open upload is for. */
  async #keyOf(uploadId: string, signal?: AbortSignal): Promise<string | undefined> {
    if (!parseUploadId(uploadId)) return undefined
    try {
      const { body } = await this.#driver.read(`${folderOf(uploadId)}/${MARKER}`, { signal })
      return (await buffer(body)).toString()
    } catch (error) {
      if (error instanceof MlflowError && error.errorCode === 'RESOURCE_DOES_NOT_EXIST') return undefined
      throw error
    }
  }

  async #checkParts(
    uploadId: string,
    parts: readonly SentPart[],
    tags: readonly (PartTag | undefined)[],
    signal?: AbortSignal,
  ): Promise<NumberedTag[]> {
    const twice = parts.find(({ partNumber }, i) => partNumber === parts[i - 1]?.partNumber)
    if (twice) throw invalidParameter(`Part ${twice.partNumber} is named twice`)
    const sizes = new Map<string, number>()
    for await (const { name, sizeBytes } of this.#driver.list(folderOf(uploadId), signal)) sizes.set(name, sizeBytes)
    return parts.map(({ partNumber }, i) => {
      const tag = tags[i]
      if (!tag || sizes.get(String(partNumber)) !== tag.sizeBytes) throw notSent(partNumber)
      return { ...tag, partNumber }
    })
  }

  async #join(key: string, uploadId: string, parts: readonly NumberedTag[], signal?: AbortSignal): Promise<void> {
    const { type: contentType, encoding: contentEncoding } = guessType(key)
    const length = parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    let failure: unknown
    const open = async ({ partNumber }: NumberedTag) => (await this.#driver.read(`${folderOf(uploadId)}/${partNumber}`, { signal })).body
    const body = concatenation(parts, open, ({ partNumber }) => {
      failure = notSent(partNumber)
      return failure
    })
    try {
      await this.#driver.write(key, body, { contentType, contentEncoding, length, signal })
    } catch (error) {
      throw failure ?? error
    } finally {
      body.destroy()
    }
  }

  async #forget(uploadId: string, signal?: AbortSignal): Promise<void> {
    if (!parseUploadId(uploadId)) return
    const folder = folderOf(uploadId)
    await this.#driver.remove(`${folder}/${MARKER}`, signal)
    await this.#driver.remove(folder, signal)
  }
}

interface NumberedTag extends PartTag {
  partNumber: number
}

const folderOf = (uploadId: string) => `${RECEIVED_PARTS}/${uploadId}`

const noSuchUpload = (cause?: unknown) => doesNotExist('No such multipart upload', { cause })

const notSent = (partNumber: number) => invalidParameter(`Part ${partNumber} of the multipart upload was not sent, or not with this ETag`)

/** The driver's error about a part, without the place where parts are kept. */
function asPart(error: unknown, folder: string): unknown {
  if (!(error instanceof MlflowError)) return error
  const { errorCode, rawMessage, errorClass, retryAfterSeconds } = error
  return new MlflowError(errorCode, rawMessage.replaceAll(`${folder}/`, 'part '), { cause: error, errorClass, retryAfterSeconds })
}

/** Whoever has it may send these parts, and nobody can change it to another that is open. */
function newUploadId(partCount: number): string {
  return `${Date.now().toString(36)}-${partCount}-${randomBytes(UPLOAD_ID_BYTES).toString('base64url')}`
}

/** Also what keeps the id from naming another place in the store. */
function parseUploadId(uploadId: string): { partCount: number } | undefined {
  const [, count] = /^[0-9a-z]{8,9}-(\d{1,5})-[\w-]{32}$/.exec(uploadId) ?? []
  return count ? { partCount: Number(count) } : undefined
}
