import type { Readable } from 'node:stream'
import type { ReadResult } from '@millrace/kit/bytes'
import { cancelled, internalError, MlflowError } from '@millrace/kit/errors'
import { isToldApart, ResumingBody } from '@millrace/kit/resuming-body'
import type { Client } from 'basic-ftp'
import type { Driver, DriverWriteOptions, Entry, Multipart, ReadOptions, Stat } from '../../driver.ts'
import { isDirectory, noSuchArtifact, resolveRange } from '../../errors.ts'
import { ReceivedMultipart } from '../../received-multipart.ts'
import { enter, listPath, modifiedOf, removePath, sizeOf, statPath } from './commands.ts'
import { ftpError, isAbsent, isGone } from './errors.ts'
import { type FtpLocation, pathOf } from './location.ts'
import type { FtpPool, Lease } from './pool.ts'
import { openBody, type Section } from './read.ts'
import { retryWhileBusy } from './retry-busy.ts'
import { writePath } from './write.ts'

/** Files below a folder of an FTP server that renames over existing files, as servers on POSIX systems do. */
export class FtpDriver implements Driver {
  /** Joining takes two connections, and one must be left to get on with: absent where there is only one. */
  readonly multipart: Multipart | undefined
  readonly #pool: FtpPool
  readonly #location: FtpLocation

  constructor(pool: FtpPool, location: FtpLocation) {
    this.#pool = pool
    this.#location = location
    this.multipart = pool.size > 1 ? new ReceivedMultipart(this, { joinsMax: pool.size - 1 }) : undefined
  }

  async stat(key: string, signal?: AbortSignal): Promise<Stat | undefined> {
    const path = pathOf(this.#location, key)
    return this.#do(key, signal, client => statPath(client, path))
  }

  async *list(key: string, signal?: AbortSignal): AsyncGenerator<Entry> {
    const path = pathOf(this.#location, key)
    yield* await this.#do(key, signal, client => listPath(client, path, this.#pool.madeFolders))
  }

  async read(key: string, { range, signal }: ReadOptions = {}): Promise<ReadResult> {
    const path = pathOf(this.#location, key)
    return this.#lend(key, signal, async lease => {
      const { size, lastModified, etag } = await this.#find(lease.client, path, key)
      const { start, end } = range ? resolveRange(range, size) : { start: 0, end: size - 1 }
      const isTold = isToldApart({ etag, lastModified })
      const toEnd = end === size - 1
      const first = await this.#open(lease, path, key, { start, length: end - start + 1, toEnd })
      const body = new ResumingBody(first, {
        start,
        end: end + 1,
        signal,
        isPassing: failure => isTold && failure instanceof MlflowError && failure.errorCode === 'TEMPORARILY_UNAVAILABLE',
        told: failure => ftpError(failure, key),
        open: position =>
          this.#lend(key, signal, async again => {
            const found = await this.#find(again.client, path, key)
            if (found.etag !== etag) throw internalError(`Artifact '${key}' changed while it was read`)
            return this.#open(again, path, key, { start: position, length: end + 1 - position, toEnd })
          }),
      })
      return { length: end - start + 1, size, start, etag, lastModified, body }
    })
  }

  async write(key: string, body: Readable, { signal }: DriverWriteOptions = {}): Promise<void> {
    const path = pathOf(this.#location, key)
    if (key === '') throw isDirectory(key)
    try {
      await writePath(this.#pool, path, key, body, signal)
    } catch (error) {
      throw ftpError(error, key)
    } finally {
      // Also when it was over before there was a connection.
      if (signal?.aborted) body.destroy()
    }
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    const path = pathOf(this.#location, key)
    // The folder around the root may not be ours to write.
    await this.#do(key, signal, client => removePath(client, path, key === ''))
  }

  async #find(client: Client, path: string, key: string): Promise<{ size: number; lastModified?: Date; etag?: string }> {
    const size = path === '/' ? undefined : await sizeOf(client, path)
    if (size === undefined) throw (await enter(client, path)) ? isDirectory(key) : noSuchArtifact(key)
    const lastModified = await modifiedOf(client, path)
    const etag = lastModified && `"${lastModified.getTime().toString(36)}-${size.toString(36)}"`
    return { size, lastModified, etag }
  }

  async #open(lease: Lease, path: string, key: string, section: Section): Promise<Readable> {
    try {
      return await openBody(lease, path, key, section)
    } catch (error) {
      if (isAbsent(error) && !lease.client.closed && (await sizeOf(lease.client, path)) === undefined) throw noSuchArtifact(key, error)
      throw error
    }
  }

  #do<T>(key: string, signal: AbortSignal | undefined, action: (client: Client) => Promise<T>): Promise<T> {
    return this.#lend(key, signal, async lease => {
      const result = await action(lease.client)
      lease.release()
      return result
    })
  }

  /** Lends `action` a connection, which it gives back; a new one once more when a kept one turns out to be dead. For what may be repeated. */
  async #lend<T>(key: string, signal: AbortSignal | undefined, action: (lease: Lease) => Promise<T>): Promise<T> {
    let isNew = false
    for (;;) {
      let lease: Lease | undefined
      const stop = () => lease?.client.close()
      try {
        const held = await this.#pool.lease(signal, { isNew })
        lease = held
        signal?.addEventListener('abort', stop, { once: true })
        return await retryWhileBusy(() => action(held), signal)
      } catch (error) {
        lease?.release()
        if (signal?.aborted) throw cancelled(`The transfer of artifact '${key}' was cut off`, { cause: error })
        if (isNew || !lease?.isKept || !isGone(error)) throw ftpError(error, key)
        isNew = true
      } finally {
        signal?.removeEventListener('abort', stop)
      }
    }
  }
}
