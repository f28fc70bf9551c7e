import { posix } from 'node:path'
import { addAbortSignal, type Readable } from 'node:stream'
import type { ReadResult } from '@millrace/kit/bytes'
import { internalError, MlflowError } from '@millrace/kit/errors'
import { isToldApart, ResumingBody } from '@millrace/kit/resuming-body'
import type { Stats } from 'ssh2'
import type { Driver, DriverWriteOptions, Entry, ReadOptions, Stat } from '../../driver.ts'
import { isDirectory, noSuchArtifact, resolveRange } from '../../errors.ts'
import { ReceivedMultipart } from '../../received-multipart.ts'
import { STATUS, sftpError, statusOf } from './errors.ts'
import { FileBody, type OpenedFile } from './file-body.ts'
import { listFolder } from './list.ts'
import { joinKey } from './location.ts'
import { checkContained } from './paths.ts'
import { letGo, type SessionPool } from './pool.ts'
import { removeTree } from './remove.ts'
import type { Session } from './session.ts'
import { writeFile } from './write.ts'

/** Files below an absolute path of an SFTP server. */
export class SftpDriver implements Driver {
  readonly multipart = new ReceivedMultipart(this)
  readonly #pool: () => SessionPool
  readonly #root: string

  constructor(pool: () => SessionPool, root: string) {
    this.#pool = pool
    this.#root = root
  }

  async stat(key: string, signal?: AbortSignal): Promise<Stat | undefined> {
    const found = await this.#run(key, signal, (session, path) => this.#find(session, path))
    return found && { isDir: found.isDirectory(), sizeBytes: found.isDirectory() ? 0 : found.size }
  }

  async *list(key: string, signal?: AbortSignal): AsyncGenerator<Entry> {
    yield* await this.#run(key, signal, async (session, path) => {
      await checkContained(session, this.#root, path)
      return listFolder(session, path, this.#pool().madeFolders)
    })
  }

  async read(key: string, { range, signal }: ReadOptions = {}): Promise<ReadResult> {
    try {
      const { file, stats } = await this.#open(key, signal)
      try {
        const { size } = stats
        const { start, end } = range ? resolveRange(range, size) : { start: 0, end: size - 1 }
        const about = { length: end - start + 1, size, start, etag: etagOf(stats), lastModified: new Date(stats.mtime * 1000) }
        const isTold = isToldApart(about)
        const body = new ResumingBody(new FileBody(file, start, about.length), {
          start,
          end: end + 1,
          signal,
          isPassing: failure => isTold && failure instanceof MlflowError && failure.errorCode === 'TEMPORARILY_UNAVAILABLE',
          told: failure => sftpError(failure, key),
          open: async position => {
            const again = await this.#open(key, signal)
            if (etagOf(again.stats) === about.etag) return new FileBody(again.file, position, end + 1 - position)
            await letGo(again.file.lease, again.file.handle)
            throw internalError(`Artifact '${key}' changed while it was read`)
          },
        })
        if (signal) addAbortSignal(signal, body)
        return { ...about, body }
      } catch (error) {
        await letGo(file.lease, file.handle)
        throw error
      }
    } catch (error) {
      throw sftpError(error, key)
    }
  }

  async write(key: string, body: Readable, options: DriverWriteOptions = {}): Promise<void> {
    if (key === '') throw isDirectory(key)
    try {
      await writeFile(this.#pool(), { root: this.#root, path: joinKey(this.#root, key), key }, body, options)
    } catch (error) {
      throw sftpError(error, key)
    } finally {
      // Also when it was over before there was a connection.
      if (options.signal?.aborted) body.destroy()
    }
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    await this.#run(key, signal, async (session, path) => {
      if (key !== '') await checkContained(session, this.#root, posix.dirname(path))
      try {
        await removeTree(session, path, signal)
      } catch (error) {
        // The folder around a root may be closed to the server: an empty root is as good as none.
        if (key !== '' || statusOf(error) !== STATUS.permissionDenied || (await session.list(path)).length > 0) throw error
      }
    })
  }

  async #open(key: string, signal?: AbortSignal): Promise<{ file: OpenedFile; stats: Stats }> {
    const path = joinKey(this.#root, key)
    const { value: handle, lease } = await this.#pool().hold(signal, async session => {
      const found = await this.#find(session, path)
      // Opening what isn't a file could wait for ever, as with a named pipe.
      if (!found?.isFile()) throw found?.isDirectory() ? isDirectory(key) : noSuchArtifact(key)
      return session.open(path, 'r')
    })
    try {
      const stats = await lease.session.fstat(handle)
      signal?.throwIfAborted()
      return { file: { handle, lease, key }, stats }
    } catch (error) {
      await letGo(lease, handle)
      throw error
    }
  }

  async #find(session: Session, path: string): Promise<Stats | undefined> {
    const [found] = await Promise.all([session.find(path), checkContained(session, this.#root, path)])
    return found
  }

  /** Ends with the signal also when the server doesn't answer; what it was asked is then left to itself. */
  async #run<T>(key: string, signal: AbortSignal | undefined, action: (session: Session, path: string) => Promise<T>): Promise<T> {
    try {
      const running = this.#pool().run(signal, session => action(session, joinKey(this.#root, key)))
      return await (signal ? unlessAborted(running, signal) : running)
    } catch (error) {
      throw sftpError(error, key)
    }
  }
}

function unlessAborted<T>(running: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    running.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

/** The protocol tells times in seconds, and nothing else that changes with a file. */
function etagOf({ mtime, size }: Stats): string {
  return `"${mtime.toString(36)}-${size.toString(36)}"`
}
