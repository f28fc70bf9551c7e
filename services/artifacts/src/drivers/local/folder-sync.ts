import { promises as fs } from 'node:fs'
import { codeOf } from '../system-errors.ts'
import { isAbsent } from './errors.ts'

interface Syncing {
  running: Promise<void>
  /** Starts when `running` has ended: what changes now may be too late for that one. */
  next?: Promise<void>
}

/**
 * Makes changes of folders durable, together for all who changed one at a time: with 16 writers in a folder that is two flushes
 * instead of 16.
 */
export class FolderSync {
  readonly #syncing = new Map<string, Syncing>()

  /** Resolves when everything that `path` listed at the call is durable. */
  sync(path: string): Promise<void> {
    const syncing = this.#syncing.get(path)
    if (!syncing) return this.#start(path)
    syncing.next ??= syncing.running.then(
      () => this.#start(path),
      () => this.#start(path),
    )
    return syncing.next
  }

  #start(path: string): Promise<void> {
    const syncing: Syncing = { running: syncFolder(path) }
    this.#syncing.set(path, syncing)
    const end = () => {
      if (!syncing.next) this.#syncing.delete(path)
    }
    syncing.running.then(end, end)
    return syncing.running
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await fs.open(path, 'r').catch((error: unknown) => {
    if (isAbsent(error)) return undefined
    throw error
  })
  if (!folder) return
  try {
    await folder.sync()
  } catch (error) {
    // Some network file systems can't flush a folder; the rename is then as durable as they make it.
    if (codeOf(error) !== 'EINVAL' && codeOf(error) !== 'ENOTSUP') throw error
  } finally {
    await folder.close()
  }
}
