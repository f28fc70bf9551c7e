import type { Readable } from 'node:stream'
import { DeleteObjectsCommand, HeadObjectCommand, ListObjectsV2Command, type ListObjectsV2Output } from '@aws-sdk/client-s3'
import type { ReadResult } from '@millrace/kit/bytes'
import { internalError, invalidParameter } from '@millrace/kit/errors'
import type { Driver, DriverWriteOptions, Entry, Multipart, Presign, ReadOptions, Stat } from '../../driver.ts'
import { isDirectory, noSuchArtifact, rangeNotSatisfiable } from '../../errors.ts'
import type { Hold } from '../../held-bytes.ts'
import { byCodePoint } from '../../keys.ts'
import { failureOf, isMissing, s3Error } from './errors.ts'
import { bucketParams, folderPrefix, objectKey, objectParams, type S3Location } from './location.ts'
import { S3Multipart } from './multipart.ts'
import { S3Presign } from './presign.ts'
import { read } from './read.ts'
import { hold, upload } from './upload.ts'

const FOLDER: Stat = { isDir: true, sizeBytes: 0 }

/** Objects below a prefix of a bucket; a folder is a common prefix. An object whose key ends with `/` only marks a folder. */
export class S3Driver implements Driver {
  readonly multipart: Multipart | undefined
  readonly presign: Presign | undefined
  readonly #location: S3Location

  constructor(location: S3Location) {
    this.#location = location
    if (!location.config.unsigned) {
      this.multipart = new S3Multipart(location)
      this.presign = new S3Presign(location)
    }
  }

  async stat(key: string, signal?: AbortSignal): Promise<Stat | undefined> {
    try {
      if (objectKey(this.#location, key) === '') return (await this.#isFolder(key, signal)) ? FOLDER : undefined
      const found = await this.#location.client.send(new HeadObjectCommand(objectParams(this.#location, key)), { abortSignal: signal })
      return { isDir: false, sizeBytes: found.ContentLength ?? 0 }
    } catch (error) {
      if (!isMissing(error)) throw s3Error(error, key)
      return (await this.#isFolder(key, signal)) ? FOLDER : undefined
    }
  }

  /** Sorted when complete: S3 orders a folder by its name with a slash, so `a.txt` comes before what is in `a`. */
  async *list(key: string, signal?: AbortSignal): AsyncGenerator<Entry> {
    const prefix = folderPrefix(this.#location, key)
    const entries: Entry[] = []
    for await (const page of this.#pages({ Prefix: prefix, Delimiter: '/' }, key, signal)) {
      for (const { Prefix = '' } of page.CommonPrefixes ?? []) {
        entries.push({ name: Prefix.slice(prefix.length, -1), isDir: true, sizeBytes: 0 })
      }
      for (const { Key = '', Size = 0 } of page.Contents ?? []) {
        if (!Key.endsWith('/')) entries.push({ name: Key.slice(prefix.length), isDir: false, sizeBytes: Size })
      }
    }
    yield* entries.sort((a, b) => byCodePoint(a.name, b.name))
  }

  async read(key: string, { range, signal }: ReadOptions = {}): Promise<ReadResult> {
    if (objectKey(this.#location, key) === '') throw isDirectory(key)
    try {
      return await read(this.#location, key, range, signal)
    } catch (error) {
      const { code, status } = failureOf(error)
      if (range && (code === 'InvalidRange' || status === 416)) throw rangeNotSatisfiable(range)
      if (!isMissing(error)) throw s3Error(error, key)
      throw (await this.#isFolder(key, signal)) ? isDirectory(key, error) : noSuchArtifact(key, error)
    }
  }

  async write(key: string, body: Readable, options: DriverWriteOptions = {}): Promise<void> {
    if (objectKey(this.#location, key) === '') throw isDirectory(key)
    try {
      await upload(this.#location, key, body, options)
    } catch (error) {
      throw s3Error(error, key)
    }
  }

  hold(length: number | undefined): Hold {
    return hold(this.#location, length)
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    const full = objectKey(this.#location, key)
    if (full === '') throw invalidParameter('Invalid path')
    // The object itself comes first of all keys with its prefix. Asked for, because deleting an absent key leaves a marker in versioned buckets.
    for await (const page of this.#pages({ Prefix: full, MaxKeys: 1 }, key, signal)) {
      if (page.Contents?.[0]?.Key === full) await this.#delete([full], key, signal)
      break
    }
    for await (const page of this.#pages({ Prefix: folderPrefix(this.#location, key) }, key, signal)) {
      await this.#delete(
        (page.Contents ?? []).flatMap(({ Key }) => Key ?? []),
        key,
        signal,
      )
    }
  }

  async #isFolder(key: string, signal?: AbortSignal): Promise<boolean> {
    for await (const page of this.#pages({ Prefix: folderPrefix(this.#location, key), MaxKeys: 1 }, key, signal)) {
      return (page.Contents?.length ?? 0) > 0
    }
    return false
  }

  /** What says nothing of a list is another service's page, in which nothing is absent: the SDK reads it as an empty list. */
  async *#pages(
    query: { Prefix: string; Delimiter?: string; MaxKeys?: number },
    key: string,
    signal?: AbortSignal,
  ): AsyncGenerator<ListObjectsV2Output> {
    let ContinuationToken: string | undefined
    do {
      let page: ListObjectsV2Output
      try {
        const command = new ListObjectsV2Command({ ...bucketParams(this.#location), ...query, ContinuationToken })
        page = await this.#location.client.send(command, { abortSignal: signal })
      } catch (error) {
        throw s3Error(error, key)
      }
      if (page.IsTruncated === undefined && page.Name === undefined && page.Contents === undefined) {
        throw internalError('What answers at the artifact location is not an S3 store')
      }
      yield page
      ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined
    } while (ContinuationToken !== undefined)
  }

  async #delete(keys: string[], key: string, signal?: AbortSignal): Promise<void> {
    if (keys.length === 0) return
    const Delete = { Objects: keys.map(Key => ({ Key })), Quiet: true }
    try {
      const { Errors } = await this.#location.client.send(new DeleteObjectsCommand({ ...bucketParams(this.#location), Delete }), {
        abortSignal: signal,
      })
      const failed = Errors?.[0]
      if (failed) throw Object.assign(new Error(failed.Message), { Code: failed.Code })
    } catch (error) {
      throw s3Error(error, key)
    }
  }
}
