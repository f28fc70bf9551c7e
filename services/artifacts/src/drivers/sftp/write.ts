import { randomUUID } from 'node:crypto'
import { posix } from 'node:path'
import { addAbortSignal, type Readable } from 'node:stream'
import { internalError } from '@millrace/kit/errors'
import { failingAsCancelled } from '../../body-parts.ts'
import type { DriverWriteOptions } from '../../driver.ts'
import { folderInTheWay, storeIsFull } from '../../errors.ts'
import { TEMPORARY_PREFIX } from '../../keys.ts'
import type { UploadFolders } from '../made-folders.ts'
import { isMissing, LostSession, STATUS, statusOf } from './errors.ts'
import { checkContained, makeFolder } from './paths.ts'
import { letGo, type SessionPool } from './pool.ts'
import type { Session } from './session.ts'

/**
 * Every server takes 32 KiB in one request, and SSH cuts up what is more. With what they say about themselves, a write and the answer to a
 * read of so much are a few bytes more and two packets, of which each has its price: a seventh of a transfer's CPU time.
 */
export const REQUEST_BYTES = 31 * 1024

/** Enough for 1 Gbit/s at 8 ms, in 1 MiB for each transfer. */
export const REQUESTS_AT_ONCE_MAX = 32

const OPEN_ATTEMPTS_MAX = 4
const REPLACE_ATTEMPTS_MAX = 64
const CLEANUP_TIMEOUT_MS = 15_000

/** Space that counts as none: what is left is the file system's own. */
const FULL_BYTES_MAX = 64 * 1024

export interface WriteTarget {
  root: string
  path: string
  key: string
}

/** Writes `body` beside its target under a hidden name, makes it durable where the server can, and renames it. */
export async function writeFile(pool: SessionPool, target: WriteTarget, body: Readable, options: DriverWriteOptions): Promise<void> {
  const { signal } = options
  const { root, path, key } = target
  const folder = posix.dirname(path)
  const temporary = posix.join(folder, TEMPORARY_PREFIX + randomUUID())
  using folders = pool.madeFolders.enter(folder)
  let opened = false
  try {
    const { value: handle, lease } = await pool.hold(signal, async session => {
      await Promise.all([checkContained(session, root, folder), checkTarget(session, target)])
      opened = true
      return openTemporary(session, temporary, key, folders)
    })
    try {
      await sendBody(lease.session, handle, body, signal)
      await lease.session.flush(handle)
    } catch (error) {
      await letGo(lease, handle)
      throw error
    }
    await lease.session.closeFile(handle).finally(lease.release)
    signal?.throwIfAborted()
    await putInPlace(pool, temporary, target)
    folders.keep()
  } catch (error) {
    throw opened ? await discard(pool, temporary, folders, error) : error
  }
}

/** Leaves nothing of an upload, as far as the server can be reached. Resolves to why it failed. */
async function discard(pool: SessionPool, temporary: string, folders: UploadFolders, error: unknown): Promise<unknown> {
  let failure = error
  const clean = async (session: Session) => {
    if (statusOf(error) === STATUS.failure && (await isFull(session, posix.dirname(temporary)))) failure = storeIsFull(error)
    await session.unlink(temporary).catch((missing: unknown) => {
      if (!isMissing(missing)) throw missing
    })
    for (const folder of folders.own) {
      await session.rmdir(folder).catch((refusal: unknown) => {
        if (refusal instanceof LostSession) throw refusal
      })
    }
  }
  await pool.run(AbortSignal.timeout(CLEANUP_TIMEOUT_MS), clean).catch(() => undefined)
  return failure
}

/** Fails before the body is read when the target can't be replaced. */
async function checkTarget(session: Session, { root, path, key }: WriteTarget): Promise<void> {
  const found = await session.findLink(path)
  if (found?.isDirectory()) throw folderInTheWay(key)
  if (found?.isSymbolicLink()) await checkContained(session, root, path)
}

async function openTemporary(session: Session, temporary: string, key: string, folders: UploadFolders): Promise<Buffer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await session.open(temporary, 'w')
    } catch (error) {
      if (!isMissing(error) || attempt === OPEN_ATTEMPTS_MAX) throw error
      await makeFolder(session, posix.dirname(temporary), key, folders)
    }
  }
}

/** Not by p-limit, which takes a request after the buffer is the next one's, and has no end to what waits. */
async function sendBody(session: Session, handle: Buffer, body: Readable, signal?: AbortSignal): Promise<void> {
  if (signal) addAbortSignal(signal, body)
  const inFlight = new Set<Promise<void>>()
  let failure: { error: unknown } | undefined
  let position = 0
  try {
    for await (const bytes of requestsOf(body)) {
      const sent: Promise<void> = session
        .write(handle, bytes, position)
        .catch((error: unknown) => {
          failure ??= { error }
        })
        .finally(() => inFlight.delete(sent))
      inFlight.add(sent)
      position += bytes.length
      if (inFlight.size >= REQUESTS_AT_ONCE_MAX) await Promise.race(inFlight)
      if (failure) break
    }
  } finally {
    await Promise.all(inFlight)
  }
  if (failure) throw failure.error
}

/** Cuts a body into requests; small chunks of it go together. A yielded buffer is the taker's until the next one is asked for. */
async function* requestsOf(body: Readable): AsyncGenerator<Buffer> {
  const gathered = Buffer.allocUnsafe(REQUEST_BYTES)
  let used = 0
  for await (let chunk of failingAsCancelled(body)) {
    while (chunk.length > 0) {
      if (used === 0 && chunk.length >= REQUEST_BYTES) {
        yield chunk.subarray(0, REQUEST_BYTES)
        chunk = chunk.subarray(REQUEST_BYTES)
        continue
      }
      const count = chunk.copy(gathered, used)
      used += count
      chunk = chunk.subarray(count)
      if (used < REQUEST_BYTES) continue
      yield gathered
      used = 0
    }
  }
  if (used > 0) yield gathered.subarray(0, used)
}

/** Repeatable, since only this upload knows the name: when it is gone, an answer that was lost was a success. */
async function putInPlace(pool: SessionPool, temporary: string, target: WriteTarget): Promise<void> {
  const { path, key } = target
  let lost = false
  await pool.run(undefined, async session => {
    try {
      if (!(await session.replace(temporary, path))) await replaceInSteps(session, temporary, target)
    } catch (error) {
      if (lost && isMissing(error)) return
      if (error instanceof LostSession) lost = true
      else if ((await session.findLink(path))?.isDirectory()) throw folderInTheWay(key, error)
      throw error
    }
  })
}

/** For servers that can't rename over a file: what is there makes room, and comes back when that was for nothing. */
async function replaceInSteps(session: Session, temporary: string, { path, key }: WriteTarget): Promise<void> {
  const old: string[] = []
  try {
    for (let attempt = 1; !(await renameIfFree(session, temporary, path)); attempt++) {
      if (attempt === REPLACE_ATTEMPTS_MAX) throw internalError(`Other writers of artifact '${key}' were always faster`)
      if ((await session.findLink(path))?.isDirectory()) throw folderInTheWay(key)
      const aside = posix.join(posix.dirname(path), TEMPORARY_PREFIX + randomUUID())
      if (await renameIfThere(session, path, aside)) old.push(aside)
    }
  } catch (error) {
    const last = old.at(-1)
    if (last && (await renameIfFree(session, last, path))) old.pop()
    throw error
  } finally {
    for (const aside of old) await session.unlink(aside)
  }
}

async function renameIfFree(session: Session, from: string, to: string): Promise<boolean> {
  try {
    await session.rename(from, to)
    return true
  } catch (error) {
    const status = statusOf(error)
    if (status !== STATUS.failure && status !== STATUS.alreadyExists) throw error
    return false
  }
}

async function renameIfThere(session: Session, from: string, to: string): Promise<boolean> {
  try {
    await session.rename(from, to)
    return true
  } catch (error) {
    if (!isMissing(error)) throw error
    return false
  }
}

/** OpenSSH's server doesn't say why it can't write. */
async function isFull(session: Session, folder: string): Promise<boolean> {
  const space = await session.space(folder)
  return space !== undefined && (space.freeBytes <= FULL_BYTES_MAX || space.freeFiles === 0)
}
