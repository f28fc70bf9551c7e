import { randomBytes } from 'node:crypto'
import { doesNotExist, invalidParameter } from '@millrace/kit/errors'
import { guessType } from '@millrace/kit/media-types'
import { eachAtOnce } from '../../concurrency.ts'
import type { Multipart, PartTarget, SentPart } from '../../driver.ts'
import { TEMPORARY_PREFIX } from '../../keys.ts'
import { composeInto } from './compose.ts'
import { gcsError } from './errors.ts'
import { bytesUrl, folderPrefix, type GcsLocation, objectName } from './location.ts'
import { deleteBelow, deleteObject, metadataOf, orUndefined, type Page, pages } from './objects.ts'
import { signUrl } from './presign.ts'
import { sendWhole } from './upload.ts'

/** A client asks for all URLs before it sends the first part, so they must last as long as the slowest upload. */
const PART_URL_EXPIRATION_SECONDS = 12 * 60 * 60
const SIGNATURES_AT_ONCE = 16
const UPLOAD_ID_BYTES = 24
/** Folder below the root, hidden from clients: `FOLDER/UPLOAD_ID/PART_NUMBER`. */
const FOLDER = `${TEMPORARY_PREFIX}composed`
/** Says that an upload is open, and holds the key that it is for. */
const MARKER = 'key'
/** Metadata of an object that an upload made, with the upload's id. */
const MADE_BY = 'millrace-upload'

/**
 * Parts are objects of their own, which the store joins without moving a byte. They and what is joined on the way have hidden names; the
 * last step makes the object, in one piece. Everything about an upload is in the store, so any process serves any call.
 */
export class GcsMultipart implements Multipart {
  readonly partsMax = 10_000
  readonly #location: GcsLocation

  constructor(location: GcsLocation) {
    this.#location = location
  }

  async start(key: string, partCount: number, signal?: AbortSignal): Promise<{ uploadId: string; parts: PartTarget[] }> {
    const uploadId = `${Date.now().toString(36)}-${randomBytes(UPLOAD_ID_BYTES).toString('base64url')}`
    const sign = async (partNumber: number): Promise<PartTarget> => {
      const about = { action: 'write', name: this.#name(uploadId, partNumber), expirationSeconds: PART_URL_EXPIRATION_SECONDS } as const
      return { partNumber, url: await signUrl(this.#location, about), headers: {} }
    }
    try {
      const numbers = Array.from({ length: partCount }, (_, i) => i + 1)
      const parts = await eachAtOnce(numbers, SIGNATURES_AT_ONCE, sign)
      const options = { contentType: 'text/plain; charset=utf-8', signal }
      await sendWhole(this.#location, `${FOLDER}/${uploadId}/${MARKER}`, Buffer.from(key), options)
      return { uploadId, parts }
    } catch (error) {
      throw gcsError(error, key)
    }
  }

  async complete(key: string, uploadId: string, parts: readonly SentPart[], signal?: AbortSignal): Promise<void> {
    try {
      if (!(await this.#isMade(key, uploadId, signal))) {
        if ((await this.#keyOf(uploadId, signal)) !== key) throw noSuchUpload()
        try {
          await this.#join(key, uploadId, parts, signal)
        } catch (error) {
          // Whoever else completes or aborts it takes the parts away.
          if (!(await this.#isMade(key, uploadId, signal)))
            throw (await this.#keyOf(uploadId, signal)) === key ? error : noSuchUpload(error)
        }
      }
      await this.#forget(uploadId, signal)
    } catch (error) {
      throw gcsError(error, key)
    }
  }

  async abort(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    try {
      const target = await this.#keyOf(uploadId, signal)
      if (target === undefined || target === key) await this.#forget(uploadId, signal)
    } catch (error) {
      throw gcsError(error, key)
    }
  }

  async *openUploads(startedBefore: number, signal?: AbortSignal): AsyncGenerator<{ key: string; uploadId: string; startedTime: number }> {
    const prefix = folderPrefix(this.#location, FOLDER)
    try {
      for await (const page of pages(this.#location, { prefix, delimiter: '/' }, signal)) {
        for (const folder of page.prefixes ?? []) {
          const uploadId = folder.slice(prefix.length, -1)
          const startedTime = startedTimeOf(uploadId)
          if (startedTime === undefined || startedTime >= startedBefore) continue
          yield { key: (await this.#keyOf(uploadId, signal)) ?? '', uploadId, startedTime }
        }
      }
    } catch (error) {
      throw gcsError(error, '')
    }
  }

  #name(uploadId: string, file: string | number): string {
    return objectName(this.#location, `${FOLDER}/${uploadId}/${file}`)
  }

  /** The key that an open upload is for. */
  async #keyOf(uploadId: string, signal?: AbortSignal): Promise<string | undefined> {
    if (startedTimeOf(uploadId) === undefined) return undefined
    const url = bytesUrl(this.#location, 'download', this.#name(uploadId, MARKER))
    return (await orUndefined(this.#location.client.send({ method: 'GET', url, query: { alt: 'media' }, signal })))?.text
  }

  /** Whether the object at the key is what this upload made. */
  async #isMade(key: string, uploadId: string, signal?: AbortSignal): Promise<boolean> {
    const found = await orUndefined(metadataOf(this.#location, objectName(this.#location, key), 'metadata', signal))
    return found?.metadata?.[MADE_BY] === uploadId
  }

  async #join(key: string, uploadId: string, parts: readonly SentPart[], signal?: AbortSignal): Promise<void> {
    const there = new Map<string, ListedObject>()
    for await (const page of pages(this.#location, { prefix: this.#name(uploadId, '') }, signal)) {
      for (const item of page.items ?? []) there.set(item.name, item)
    }
    const sources = parts.map(part => {
      const found = there.get(this.#name(uploadId, part.partNumber))
      if (!found || !isTagged(found, part.etag)) {
        throw invalidParameter(`Part ${part.partNumber} of the multipart upload was not sent, or not with this ETag`)
      }
      return found
    })
    if (sources.length === 0) throw invalidParameter('A multipart upload has at least one part')
    const target = {
      name: objectName(this.#location, key),
      contentType: guessType(key).type ?? 'application/octet-stream',
      metadata: { [MADE_BY]: uploadId },
    }
    await composeInto(this.#location, target, sources, this.#name(uploadId, 'joined'), signal)
  }

  /** The marker goes first: without it nothing completes what is being taken away. */
  async #forget(uploadId: string, signal?: AbortSignal): Promise<void> {
    if (startedTimeOf(uploadId) === undefined) return
    await deleteObject(this.#location, this.#name(uploadId, MARKER), signal)
    await deleteBelow(this.#location, this.#name(uploadId, ''), signal)
  }
}

type ListedObject = NonNullable<Page['items']>[number]

const noSuchUpload = (cause?: unknown) => doesNotExist('No such multipart upload', { cause })

/** Undefined for what is no upload's id; an id can't lead to other folders. */
function startedTimeOf(uploadId: string): number | undefined {
  const [, time] = /^([0-9a-z]{8,9})-[\w-]{32}$/.exec(uploadId) ?? []
  return time === undefined ? undefined : Number.parseInt(time, 36)
}

/** The store answers a part's PUT with its MD5, unless it is encrypted with a key of the customer's. A client needn't repeat it. */
function isTagged({ md5Hash }: ListedObject, etag: string): boolean {
  const md5 = /^"?([0-9a-f]{32})"?$/i.exec(etag)?.[1]
  return md5 === undefined || md5Hash === undefined || Buffer.from(md5Hash, 'base64').toString('hex') === md5.toLowerCase()
}
