import { Readable } from 'node:stream'
import type { BlobDownloadResponseParsed, BlobGetPropertiesResponse, BlockBlobClient } from '@azure/storage-blob'
import type { ByteRange, ReadResult } from '@millrace/kit/bytes'
import { internalError, invalidParameter } from '@millrace/kit/errors'
import { ResumingBody } from '@millrace/kit/resuming-body'
import type { Driver, DriverWriteOptions, Entry, Multipart, Presign, ReadOptions, Stat } from '../../driver.ts'
import { isDirectory, noSuchArtifact, rangeNotSatisfiable, resolveRange } from '../../errors.ts'
import type { Hold } from '../../held-bytes.ts'
import { byCodePoint } from '../../keys.ts'
import { silentStore } from '../transport-errors.ts'
import { type AzureLocation, blobAt, blobName, folderPrefix, isMarker, listBlobs, marksFolder } from './blobs.ts'
import { azureError, isCutShort, isMissing, isTransient, statusOf } from './errors.ts'
import { AzureMultipart } from './multipart.ts'
import { AzurePresign } from './presign.ts'
import { removeBelow, removeBlob } from './remove.ts'
import { SasSigner } from './sas.ts'
import { heldBytes, upload } from './upload.ts'

const FOLDER: Stat = { isDir: true, sizeBytes: 0 }
/** A blob that is replaced between two calls is looked at anew. */
const READ_ATTEMPTS_MAX = 5

/** Blobs below a prefix of a container; a folder is a common prefix, or a blob that only marks one. */
export class AzureDriver implements Driver {
  readonly multipart: Multipart | undefined
  readonly presign: Presign | undefined
  readonly #location: AzureLocation
  readonly #timeoutMs: number
  readonly #closing: AbortSignal

  /** @param timeoutMs longest silence of the store. */
  constructor(location: AzureLocation, timeoutMs: number, closing: AbortSignal) {
    this.#location = location
    this.#timeoutMs = timeoutMs
    this.#closing = closing
    // Who has no more than a SAS token can't sign, and must not hand it out.
    if (location.account.credential.kind !== 'sas') {
      const signer = new SasSigner(location)
      this.multipart = new AzureMultipart(location, signer)
      this.presign = new AzurePresign(location, signer)
    }
  }

  async stat(key: string, signal?: AbortSignal): Promise<Stat | undefined> {
    try {
      const found = blobName(this.#location, key) === '' ? undefined : await this.#properties(key, signal)
      if (found && !isMarker(found.metadata)) return { isDir: false, sizeBytes: found.contentLength ?? 0 }
      return marksFolder(found?.metadata) || (await this.#isFolder(key, signal)) ? FOLDER : undefined
    } catch (error) {
      throw azureError(error, key)
    }
  }

  /** Sorted when complete: Azure orders a folder by its name with a slash, so `a.txt` comes before what is in `a`. */
  async *list(key: string, signal?: AbortSignal): AsyncGenerator<Entry> {
    const prefix = folderPrefix(this.#location, key)
    const entries = new Map<string, Entry>()
    try {
      for await (const page of listBlobs(this.#location, { prefix, delimiter: '/' }, signal)) {
        for (const { name: full, sizeBytes, isFolder } of page) {
          const name = full.slice(prefix.length).replace(/\/$/, '')
          // A folder may come as a prefix and as a blob that marks it.
          if (name !== '') entries.set(isFolder ? `${name}/` : name, { name, isDir: isFolder, sizeBytes })
        }
      }
    } catch (error) {
      throw azureError(error, key)
    }
    yield* [...entries.values()].sort((a, b) => byCodePoint(a.name, b.name))
  }

  async read(key: string, options: ReadOptions = {}): Promise<ReadResult> {
    if (blobName(this.#location, key) === '') throw isDirectory(key)
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#read(key, options)
      } catch (error) {
        if (statusOf(error) === 412 && attempt < READ_ATTEMPTS_MAX) continue
        if (options.range && statusOf(error) === 416) throw rangeNotSatisfiable(options.range)
        if (!isMissing(error)) throw azureError(error, key)
        throw (await this.#isFolder(key, options.signal)) ? isDirectory(key, error) : noSuchArtifact(key, error)
      }
    }
  }

  async write(key: string, body: Readable, options: DriverWriteOptions = {}): Promise<void> {
    if (blobName(this.#location, key) === '') throw isDirectory(key)
    try {
      await upload(blobAt(this.#location, key), body, options, this.#closing)
    } catch (error) {
      throw azureError(error, key)
    }
  }

  hold(length: number | undefined): Hold {
    return { bytes: heldBytes(length), [Symbol.dispose]() {} }
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    if (blobName(this.#location, key) === '') throw invalidParameter('Invalid path')
    try {
      await removeBelow(this.#location, folderPrefix(this.#location, key), signal)
      await removeBlob(blobAt(this.#location, key), signal)
    } catch (error) {
      throw azureError(error, key)
    }
  }

  /** Undefined for a missing blob. */
  async #properties(key: string, abortSignal?: AbortSignal): Promise<BlobGetPropertiesResponse | undefined> {
    try {
      return await blobAt(this.#location, key).getProperties({ abortSignal })
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async #read(key: string, { range, signal }: ReadOptions): Promise<ReadResult> {
    const blob = blobAt(this.#location, key)
    const response = await begin(blob, range, signal)
    const { metadata, contentLength: length = 0, contentRange = '', etag, lastModified } = response
    if (isMarker(metadata)) {
      bodyOf(response).destroy()
      throw marksFolder(metadata) ? isDirectory(key) : noSuchArtifact(key)
    }
    const [, first = '0', last = String(length)] = /^bytes (\d+)-\d+\/(\d+)$/.exec(contentRange) ?? []
    const [start, size] = [Number(first), Number(last)]
    if (range && start >= size) {
      bodyOf(response).destroy()
      throw rangeNotSatisfiable(range, size)
    }
    return { length, size, start, etag, lastModified, body: this.#resuming(blob, response, { key, start, end: start + length, signal }) }
  }

  /** The bytes of a response, and what it leaves out of them when its connection is lost. */
  #resuming(
    blob: BlockBlobClient,
    response: BlobDownloadResponseParsed,
    { key, signal, ...extent }: { key: string; start: number; end: number; signal?: AbortSignal },
  ): Readable {
    const open = async (from: number) => {
      const next = await blob.download(from, extent.end - from, { conditions: { ifMatch: response.etag }, abortSignal: signal })
      if (next.contentRange?.startsWith(`bytes ${from}-`)) return bodyOf(next)
      bodyOf(next).destroy()
      throw internalError(`The artifact store did not go on with artifact '${key}' where it was`)
    }
    const told = (failure: unknown) => azureError(failure, key)
    const isPassing = (failure: unknown) => isTransient(failure) || isCutShort(failure)
    return new ResumingBody(bodyOf(response), {
      ...extent,
      timeoutMs: this.#timeoutMs,
      signal,
      silence: silentStore,
      isPassing,
      told,
      open,
    })
  }

  async #isFolder(key: string, signal?: AbortSignal): Promise<boolean> {
    try {
      for await (const page of listBlobs(this.#location, { prefix: folderPrefix(this.#location, key), sizeMax: 1 }, signal)) {
        if (page.length > 0) return true
      }
      return false
    } catch (error) {
      throw azureError(error, key)
    }
  }
}

async function begin(blob: BlockBlobClient, range: ByteRange | undefined, abortSignal?: AbortSignal): Promise<BlobDownloadResponseParsed> {
  if (!range) return blob.download(undefined, undefined, { abortSignal })
  if (range.start >= 0) {
    return blob.download(range.start, range.end === undefined ? undefined : range.end - range.start + 1, { abortSignal })
  }
  // Azure knows no range that counts from the end.
  const { contentLength = 0, etag } = await blob.getProperties({ abortSignal })
  const { start, end } = resolveRange(range, contentLength)
  return blob.download(start, end - start + 1, { conditions: { ifMatch: etag }, abortSignal })
}

function bodyOf({ readableStreamBody }: BlobDownloadResponseParsed): Readable {
  if (readableStreamBody instanceof Readable) return readableStreamBody
  throw internalError('The artifact store gave no body')
}
