import { randomUUID } from 'node:crypto'
import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import { cancelled, internalError } from '@millrace/kit/errors'
import type { Client } from 'basic-ftp'
import { folderInTheWay } from '../../errors.ts'
import { TEMPORARY_PREFIX } from '../../keys.ts'
import type { UploadFolders } from '../made-folders.ts'
import { enter, makeFolder, sizeOf } from './commands.ts'
import { isAbsent, isBusy, replyOf } from './errors.ts'
import type { FtpPool } from './pool.ts'
import { BUSY_ATTEMPTS_MAX, pauseAfter, retryWhileBusy } from './retry-busy.ts'
import { Source } from './source.ts'

/** For an upload that is thrown away to end as usual. */
const ABORT_GRACE_MS = 5_000
const CLEAN_UP_TIMEOUT_MS = 30_000

/** Writes `body` beside `path` under a hidden name and renames it, which replaces the file that was there at once. */
export async function writePath(pool: FtpPool, path: string, key: string, body: Readable, signal?: AbortSignal): Promise<void> {
  const temporary = posix.join(posix.dirname(path), TEMPORARY_PREFIX + randomUUID())
  using folders = pool.madeFolders.enter(posix.dirname(path))
  let lease = await pool.lease(signal)
  let grace: NodeJS.Timeout | undefined
  const stop = () => {
    grace = setTimeout(() => lease.client.close(), ABORT_GRACE_MS)
  }
  signal?.addEventListener('abort', stop, { once: true })
  const source = new Source(body, lease.client.ftp.timeout, signal)
  try {
    for (let attempt = 1; ; attempt++) {
      const refusal = await send(lease.client, source, temporary, key, folders)
      if (!refusal) break
      if (attempt === BUSY_ATTEMPTS_MAX) throw refusal
      if (isBusy(refusal)) await pauseAfter(attempt, signal)
      if (!lease.client.closed) continue
      lease.release()
      lease = await pool.lease(signal, { isNew: true })
    }
    const { client } = lease
    if (source.failure) throw cancelled(`The transfer of artifact '${key}' was cut off`, { cause: source.failure })
    const arrived = await retryWhileBusy(() => sizeOf(client, temporary), signal)
    if (arrived !== source.bytes)
      throw internalError(`The artifact store kept ${arrived ?? 0} of ${source.bytes} bytes of artifact '${key}'`)
    signal?.throwIfAborted()
    await retryWhileBusy(() => client.rename(temporary, path), signal).catch(async error => {
      throw isAbsent(error) && (await enter(client, path)) ? folderInTheWay(key, error) : error
    })
    folders.keep()
  } catch (error) {
    await cleanUp(lease.client, pool, temporary, folders)
    throw signal?.aborted ? cancelled(`The transfer of artifact '${key}' was cut off`, { cause: error }) : error
  } finally {
    source.destroy()
    clearTimeout(grace)
    signal?.removeEventListener('abort', stop)
    lease.release()
  }
}

/**
 * Makes the folder first, instead of when the server refuses the upload: with TLS it may answer that twice, once more for the data
 * connection that was not used.
 * @returns undefined when everything was sent; the refusal when nothing of the source is used up and it may go better the next time: the
 * server is busy, or another writer that failed has taken the folder away with it.
 */
async function send(client: Client, source: Source, temporary: string, key: string, folders: UploadFolders): Promise<unknown> {
  const folder = posix.dirname(temporary)
  let isUploading = false
  try {
    if (!(await enter(client, folder))) await makeFolder(client, folder, key, folders)
    isUploading = true
    await client.uploadFrom(source, temporary)
    return undefined
  } catch (error) {
    if (isUploading && client.ftp.hasTLS) client.close()
    if (!source.isBegun && !source.destroyed && (isBusy(error) || (isUploading && isAbsent(error)))) return error
    throw error
  }
}

/** Removes what an upload left, by another connection when its own is lost. What can't be removed stays hidden. */
async function cleanUp(client: Client, pool: FtpPool, temporary: string, folders: UploadFolders): Promise<void> {
  const clean = async (session: Client) => {
    await session.sendIgnoringError(`DELE ${temporary}`)
    for (const folder of folders.own) await session.sendIgnoringError(`RMD ${folder}`)
  }
  try {
    if (!client.closed) return await clean(client)
  } catch (error) {
    if (replyOf(error) !== undefined) return
  }
  const other = await pool.lease(AbortSignal.timeout(CLEAN_UP_TIMEOUT_MS), { isNew: true }).catch(() => undefined)
  await clean(other?.client ?? client).catch(() => undefined)
  other?.release()
}
