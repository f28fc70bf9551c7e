import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { type ReadResult, rangeHeader } from '@millrace/kit/bytes'
import { internalError, invalidParameter } from '@millrace/kit/errors'
import { ResumingBody } from '@millrace/kit/resuming-body'
import type { Driver, DriverWriteOptions, Entry, Multipart, Presign, ReadOptions, Stat } from '../../driver.ts'
import { isDirectory, noSuchArtifact, rangeNotSatisfiable, resolveRange } from '../../errors.ts'
import type { Hold } from '../../held-bytes.ts'
import { byCodePoint } from '../../keys.ts'
import { type AzureLocation, blobName, blobPath, folderPrefix, isMarker, listBlobs, marksFolder } from './blobs.ts'
import { azureError, isMissing, isPassing, silence, statusOf } from './errors.ts'
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
  readonly #closing: AbortSignal

  constructor(location: AzureLocation, closing: AbortSignal) {
    this.#location = location
    this.#closing = closing
    const { client } = location
    // Who has no more than a SAS token can't sign, and must not hand it out.
    if (client.account.credential.kind !== 'sas') {
      const signer = new SasSigner(client)
      this.multipart = new AzureMultipart(location, signer)
      this.presign = new AzurePresign(location, signer)
    }
  }

  async stat(key: string, signal?: AbortSignal): Promise<Stat | undefined> {
    try {
      const headers = blobName(this.#location, key) === '' ? undefined : await this.#properties(key, signal)
      if (headers && !isMarker(headers)) return { isDir: false, sizeBytes: Number(headers['content-length'] ?? 0) }
      return (headers && marksFolder(headers)) || (await this.#isFolder(key, signal)) ? FOLDER : undefined
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
          const name = full.slice(prefix.length)
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
      await upload(this.#location, blobPath(this.#location, key), body, options, this.#closing)
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
      await removeBlob(this.#location, blobPath(this.#location, key), signal)
    } catch (error) {
      throw azureError(error, key)
    }
  }

  /** Undefined for a missing blob. */
  async #properties(key: string, signal?: AbortSignal): Promise<IncomingHttpHeaders | undefined> {
    try {
      return await this.#location.client.headers({ method: 'HEAD', path: blobPath(this.#location, key), signal })
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async #read(key: string, { range, signal }: ReadOptions): Promise<ReadResult> {
    const path = blobPath(this.#location, key)
    const headers: Record<string, string | undefined> = {}
    if (range && range.start < 0) {
      // Azure knows no range that counts from the end.
      const found = await this.#location.client.headers({ method: 'HEAD', path, signal })
      const { start, end } = resolveRange(range, Number(found['content-length'] ?? 0))
      headers['if-match'] = found.etag
      headers.range = `bytes=${start}-${end}`
    } else if (range) headers.range = rangeHeader(range)
    const answer = await this.#location.client.send({ method: 'GET', path, headers, signal })
    if (isMarker(answer.headers)) {
      answer.destroy()
      throw marksFolder(answer.headers) ? isDirectory(key) : noSuchArtifact(key)
    }
    const length = Number(answer.headers['content-length'] ?? 0)
    const [, start = '0', size = String(length)] = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.headers['content-range'] ?? '') ?? []
    if (range && Number(start) >= Number(size)) {
      answer.destroy()
      throw rangeNotSatisfiable(range, Number(size))
    }
    const { etag, 'last-modified': modified } = answer.headers
    return {
      length,
      size: Number(size),
      start: Number(start),
      etag,
      lastModified: modified ? new Date(modified) : undefined,
      body: this.#resuming(answer, { key, start: Number(start), end: Number(start) + length, signal }),
    }
  }

  /** The bytes of an answer, and what it leaves out of them when its connection is lost. */
  #resuming(
    answer: IncomingMessage,
    { key, signal, ...extent }: { key: string; start: number; end: number; signal?: AbortSignal },
  ): Readable {
    const { client } = this.#location
    const { etag } = answer.headers
    const open = async (from: number) => {
      const headers = { range: `bytes=${from}-${extent.end - 1}`, 'if-match': etag }
      const next = await client.send({ method: 'GET', path: blobPath(this.#location, key), headers, signal })
      if (next.headers['content-range']?.startsWith(`bytes ${from}-`)) return withoutLimit(next)
      next.destroy()
      throw internalError(`The artifact store did not go on with artifact '${key}' where it was`)
    }
    const told = (failure: unknown) => azureError(failure, key)
    return new ResumingBody(withoutLimit(answer), { ...extent, timeoutMs: client.timeoutMs, signal, silence, isPassing, told, open })
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

/** Whoever reads a body watches over the store's silence: that of a slow reader is none. */
function withoutLimit(answer: IncomingMessage): IncomingMessage {
  answer.socket.setTimeout(0)
  return answer
}
