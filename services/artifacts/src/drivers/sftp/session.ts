import type { Socket } from 'node:net'
import type { Client, SFTPWrapper, Stats } from 'ssh2'
import type SftpClient from 'ssh2-sftp-client'
import type { ListedChild } from './client.ts'
import { connectionError, isMissing, LostSession, statusOf, tooSlow, unreachable } from './errors.ts'

const WATCH_INTERVAL_MS = 1_000

type Answer<T> = (error: Error | null | undefined, value?: T) => void

export interface Child {
  name: string
  /** Undefined where the server's listing doesn't tell. */
  type: 'd' | '-' | 'l' | undefined
  sizeBytes: number
  modifiedAtMs: number
}

/** Form of `ls -l`, which most servers list in, though they need not (draft-ietf-secsh-filexfer-02 section 7). */
const LONG_LISTING = /^[-dl][-rwxsStT]{9}/

/** Space on the file system of a path. */
export interface Space {
  freeBytes: number
  /** Undefined where the file system has no limit. */
  freeFiles: number | undefined
}

export interface Connection {
  readonly client: SftpClient
  readonly ssh: Client
  readonly channel: SFTPWrapper
  /** What the connection goes through. */
  readonly socket: Socket
}

/**
 * One connection with its SFTP channel, which any number of calls may share: the server answers them one after another. A server that
 * leaves a call without an answer for `timeoutMs` loses the connection, and every call on it fails with LostSession.
 *
 * Where ssh2-sftp-client gives less than the channel that it holds, calls are the channel's: its `stat` and `lstat` call every failure
 * absence, its `mkdir` and `rmdir` ask twice, hide what the server said, and `mkdir` calls a folder that was there made.
 */
export class Session {
  readonly #client: SftpClient
  readonly #ssh: Client
  readonly #channel: SFTPWrapper
  readonly #socket: Socket
  readonly #unanswered = new Set<(error: LostSession) => void>()
  readonly #watch: NodeJS.Timeout
  #lost: LostSession | undefined
  #quietSinceMs = 0
  /** Called once when the connection is gone. */
  onLost: () => void = () => undefined

  constructor({ client, ssh, channel, socket }: Connection, timeoutMs: number) {
    this.#client = client
    this.#ssh = ssh
    this.#channel = channel
    this.#socket = socket
    for (const source of [ssh, channel]) {
      source.on('error', (error: unknown) => this.#lose(new LostSession(connectionError(error))))
      source.on('close', () => this.#lose(new LostSession(unreachable())))
    }
    this.#watch = setInterval(() => {
      if (this.#unanswered.size > 0 && performance.now() - this.#quietSinceMs > timeoutMs) this.#lose(new LostSession(tooSlow()))
    }, WATCH_INTERVAL_MS).unref()
  }

  get isLost(): boolean {
    return this.#lost !== undefined
  }

  /** Ends the connection without an answer to what is still under way. */
  close(): void {
    this.#lose(new LostSession(unreachable()))
  }

  open = (path: string, flags: 'r' | 'w') => this.#call<Buffer>(done => this.#channel.open(path, flags, done))
  closeFile = (handle: Buffer) => this.#call<void>(done => this.#channel.close(handle, done))
  stat = (path: string) => this.#call<Stats>(done => this.#channel.stat(path, done))
  lstat = (path: string) => this.#call<Stats>(done => this.#channel.lstat(path, done))
  fstat = (handle: Buffer) => this.#call<Stats>(done => this.#channel.fstat(handle, done))
  mkdir = (path: string) => this.#call<void>(done => this.#channel.mkdir(path, done))
  rmdir = (path: string) => this.#call<void>(done => this.#channel.rmdir(path, done))
  unlink = (path: string) => this.#ask(() => this.#client.delete(path))
  rename = (from: string, to: string) => this.#ask(() => this.#client.rename(from, to))

  /** Undefined for a path that leads nowhere. */
  realpath = async (path: string) => (await this.#ask(() => this.#client.realPath(path))) || undefined

  /** What is in a folder, in no order; of a link it tells about the link itself. */
  async list(path: string): Promise<Child[]> {
    const listed = (await this.#ask(() => this.#client.list(path))) as ListedChild[]
    return listed.map(({ name, type, size, modifyTime, longname }) => ({
      name,
      type: LONG_LISTING.test(longname) ? type : undefined,
      sizeBytes: size,
      modifiedAtMs: modifyTime,
    }))
  }

  write = (handle: Buffer, bytes: Buffer, position: number) =>
    this.#call<void>(done => this.#channel.write(handle, bytes, 0, bytes.length, position, error => done(error)))

  /** Up to `length` bytes, fewer when the server answers with fewer, none at the end of the file. */
  read(handle: Buffer, position: number, length: number): Promise<Buffer> {
    return this.#call<Buffer>(done =>
      this.#channel.read(handle, Buffer.allocUnsafeSlow(length), 0, length, position, (error, count, bytes) =>
        done(error, bytes?.subarray(0, count)),
      ),
    )
  }

  /** Renames over what is there, atomically. False where the server has no such request. */
  replace(from: string, to: string): Promise<boolean> {
    const renamed = () => this.#client.posixRename(from, to)
    return this.#ask(() => renamed().then(() => true, orUnsupported))
  }

  /** Makes a file durable. False where the server has no such request. */
  flush(handle: Buffer): Promise<boolean> {
    return this.#extended(done => this.#channel.ext_openssh_fsync(handle, done))
  }

  /** Undefined where the server doesn't tell. */
  async space(path: string): Promise<Space | undefined> {
    let space: Space | undefined
    await this.#extended(done =>
      this.#channel.ext_openssh_statvfs(path, (error, info?: Record<string, number>) => {
        const { f_bavail = 0, f_frsize = 1, f_files = 0, f_favail = 0 } = info ?? {}
        space = { freeBytes: f_bavail * f_frsize, freeFiles: f_files > 0 ? f_favail : undefined }
        done(error)
      }),
    )
    return space
  }

  /** Like `stat`, but undefined for a path that leads nowhere. */
  find = (path: string) => this.stat(path).catch(absent)

  /** Like `find`, but for a link itself. */
  findLink = (path: string) => this.lstat(path).catch(absent)

  /** A call of the package's, which says why it failed by the status, or else that the channel is gone. */
  #ask<T>(call: () => Promise<T>): Promise<T> {
    return this.#call<T>(done => {
      call().then(value => done(undefined, value), done)
    })
  }

  #call<T>(send: (done: Answer<T>) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#lost) throw this.#lost
      if (this.#unanswered.size === 0) this.#quietSinceMs = performance.now()
      this.#unanswered.add(reject)
      const answered = () => {
        this.#quietSinceMs = performance.now()
        this.#unanswered.delete(reject)
      }
      this.#gather()
      try {
        send((error, value) => {
          answered()
          if (!error) return resolve(value as T)
          // Without a status it is ssh2's own: the channel is gone.
          if (statusOf(error) === undefined) this.#lose(new LostSession(connectionError(error)))
          reject(this.#lost ?? error)
        })
      } catch (error) {
        answered()
        throw error
      }
    })
  }

  /**
   * Has everything that is sent in one turn of the event loop leave in one write. ssh2 writes each packet in three pieces, and a request
   * of 32 KiB is two packets: six system calls, which were a tenth of a transfer's CPU time.
   */
  #gather(): void {
    if (this.#socket.writableCorked > 0) return
    this.#socket.cork()
    process.nextTick(() => this.#socket.uncork())
  }

  /** ssh2 refuses at once to send a request that the server didn't say it has. */
  async #extended(send: (done: Answer<void>) => void): Promise<boolean> {
    let known = true
    await this.#call<void>(done => {
      try {
        send(done)
      } catch {
        known = false
        done(undefined)
      }
    })
    return known
  }

  #lose(lost: LostSession): void {
    if (this.#lost) return
    this.#lost = lost
    clearInterval(this.#watch)
    for (const reject of this.#unanswered) reject(lost)
    this.#unanswered.clear()
    this.#ssh.destroy()
    this.onLost()
  }
}

function absent(error: unknown): undefined {
  if (!isMissing(error)) throw error
}

/** False for what ssh2 says of a request that the server didn't say it has. */
function orUnsupported(error: unknown): false {
  if (error instanceof Error && /not support this extended request/.test(error.message)) return false
  throw error
}
