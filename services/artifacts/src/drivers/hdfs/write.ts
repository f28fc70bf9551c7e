import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { internalError } from '@millrace/kit/errors'
import { folderInTheWay } from '../../errors.ts'
import { TEMPORARY_PREFIX } from '../../keys.ts'
import type { UploadFolders } from '../made-folders.ts'
import { isUnreachable } from '../system-errors.ts'
import { isAbsent, isUnreachableOrSilent, RemoteFailure } from './errors.ts'
import type { Files } from './files.ts'
import { joinPath, parentOf } from './location.ts'
import { BODY_HEADERS, sendBody } from './send-body.ts'

const REPLACE_ATTEMPTS_MAX = 64
const RENAME_ATTEMPTS_MAX = 3
const REASON_TIMEOUT_MS = 10_000
const CLEAN_UP_TIMEOUT_MS = 30_000
/** A data node may make a file after its connection has gone: it is looked for again. */
const CLEAN_UP_DELAYS_MS = [0, 250, 1_000]

export interface WriteTarget {
  path: string
  key: string
  signal?: AbortSignal
}

/** Writes `body` beside its target under a hidden name, and renames it, which replaces the file that was there at once. */
export async function writeFile(files: Files, body: Readable, target: WriteTarget): Promise<void> {
  const { path, key, signal } = target
  const { nodes } = files
  const folder = parentOf(path)
  const temporary = joinPath(folder, TEMPORARY_PREFIX + randomUUID())
  using folders = files.madeFolders.enter(folder)
  const [found, missing] = await Promise.all([files.find(path, signal), outermostMissing(files, folder, signal)])
  if (found?.type === 'DIRECTORY') throw folderInTheWay(key)
  let begun = false
  try {
    const call = { method: 'PUT', op: 'CREATE', path: temporary, query: { overwrite: false }, signal } as const
    const length = await nodes.throughDataNode(call, to => {
      begun = true
      if (missing) folders.made(missing)
      return sendBody(nodes.wire, to, body, signal)
    })
    signal?.throwIfAborted()
    await putInPlace(files, temporary, target, length)
    folders.keep()
  } catch (error) {
    const reason = begun && isUnreachable(error) && !signal?.aborted ? await askReason(files, temporary, error) : error
    if (begun) await discard(files, temporary, folders)
    throw reason
  }
}

/** A data node that refuses a body closes the connection over it, and what it had to say is lost: a byte gets an answer. */
async function askReason({ nodes }: Files, temporary: string, error: unknown): Promise<unknown> {
  const signal = AbortSignal.timeout(REASON_TIMEOUT_MS)
  const call = { method: 'PUT', op: 'CREATE', path: temporary, query: { overwrite: true }, signal } as const
  try {
    await nodes.throughDataNode(call, async ({ url, headers }) => {
      await nodes.wire.send({ method: 'PUT', url: url.href, headers: { ...headers, ...BODY_HEADERS }, body: Buffer.from('x'), signal })
    })
    return error
  } catch (reason) {
    return reason instanceof RemoteFailure ? reason : error
  }
}

/**
 * Repeatable, since only this upload knows the temporary name: when that is gone and a file of its length is in its place, it was
 * renamed by an attempt whose answer was lost.
 */
async function putInPlace(files: Files, temporary: string, target: WriteTarget, length: number): Promise<void> {
  const { path } = target
  for (let attempt = 1; ; attempt++) {
    try {
      if (!(await files.rename(temporary, path))) await replaceInSteps(files, temporary, target)
      return
    } catch (error) {
      if (isAbsent(error) && (await files.find(path))?.length === length) return
      if (attempt === RENAME_ATTEMPTS_MAX || !isUnreachableOrSilent(error)) throw error
    }
  }
}

/** For gateways, which don't rename over a file: what is there makes room, and comes back when that was for nothing. */
async function replaceInSteps(files: Files, temporary: string, { path, key }: WriteTarget): Promise<void> {
  const old: string[] = []
  try {
    for (let attempt = 1; !(await files.rename(temporary, path)); attempt++) {
      if (attempt === REPLACE_ATTEMPTS_MAX) throw internalError(`Other writers of artifact '${key}' were always faster`)
      if ((await files.find(path))?.type === 'DIRECTORY') throw folderInTheWay(key)
      const aside = joinPath(parentOf(path), TEMPORARY_PREFIX + randomUUID())
      if (await renameIfThere(files, path, aside)) old.push(aside)
    }
  } catch (error) {
    const last = old.at(-1)
    if (last && (await files.rename(last, path).catch(() => false))) old.pop()
    throw error
  } finally {
    for (const aside of old) await files.remove(aside, { recursive: false })
  }
}

async function renameIfThere(files: Files, from: string, to: string): Promise<boolean> {
  try {
    return await files.rename(from, to)
  } catch (error) {
    if (!isAbsent(error)) throw error
    return false
  }
}

/** The outermost folder on the way to `folder` that isn't there. */
async function outermostMissing(files: Files, folder: string, signal?: AbortSignal): Promise<string | undefined> {
  let missing: string | undefined
  for (let current = folder; current !== '/' && !(await files.find(current, signal)); current = parentOf(current)) missing = current
  return missing
}

/** Leaves nothing of an upload, as far as the store can be reached: neither its file nor folders that were made for it. */
async function discard(files: Files, temporary: string, folders: UploadFolders): Promise<void> {
  const signal = AbortSignal.timeout(CLEAN_UP_TIMEOUT_MS)
  try {
    for (const delay of CLEAN_UP_DELAYS_MS) {
      await sleep(delay)
      if (await files.remove(temporary, { recursive: false, signal })) break
    }
    for (const folder of folders.own) await files.remove(folder, { recursive: false, signal })
  } catch {
    // What can't be removed stays hidden, and a folder with something in it stays.
  }
}
