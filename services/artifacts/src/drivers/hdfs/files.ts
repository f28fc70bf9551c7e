import { MadeFolders } from '../made-folders.ts'
import { isAbsent, RemoteFailure } from './errors.ts'
import type { NameNodes } from './name-nodes.ts'

/** Source: WebHDFS REST API, "FileStatus Properties". Gateways leave `fileId` out. */
export interface FileStatus {
  type: 'FILE' | 'DIRECTORY' | 'SYMLINK'
  length: number
  /** In milliseconds. */
  modificationTime: number
  fileId?: number
  /** Name within the folder that was listed; "" for a file that was itself asked for. */
  pathSuffix: string
}

interface Page {
  DirectoryListing?: { partialListing: { FileStatuses: { FileStatus: FileStatus[] } }; remainingEntries: number }
}

/** What name nodes do by themselves, by absolute paths. */
export class Files {
  readonly nodes: NameNodes
  readonly madeFolders = new MadeFolders()
  #listsInPages = true

  constructor(nodes: NameNodes) {
    this.nodes = nodes
  }

  async status(path: string, signal?: AbortSignal): Promise<FileStatus> {
    const answer = await this.nodes.ask<{ FileStatus: FileStatus }>({ method: 'GET', op: 'GETFILESTATUS', path, signal })
    if (!answer?.FileStatus) throw new RemoteFailure(200, '', 'no status')
    return answer.FileStatus
  }

  /** Undefined when nothing is at the path. */
  async find(path: string, signal?: AbortSignal): Promise<FileStatus | undefined> {
    return this.status(path, signal).catch(undefinedIfAbsent)
  }

  /** Children of a folder, in no order; nothing for a file or a missing folder. */
  async list(path: string, signal?: AbortSignal): Promise<FileStatus[]> {
    try {
      const found = this.#listsInPages ? await this.#pages(path, signal) : undefined
      return (found ?? (await this.#whole(path, signal))).filter(({ pathSuffix }) => pathSuffix !== '')
    } catch (error) {
      return undefinedIfAbsent(error) ?? []
    }
  }

  /** Absent is success, and so is a folder that isn't empty when `recursive` is false. */
  async remove(path: string, { recursive, signal }: { recursive: boolean; signal?: AbortSignal }): Promise<boolean> {
    try {
      const answer = await this.nodes.ask<{ boolean?: boolean }>({ method: 'DELETE', op: 'DELETE', path, query: { recursive }, signal })
      return answer?.boolean ?? false
    } catch (error) {
      undefinedIfAbsent(error)
      return false
    }
  }

  /**
   * Puts a file in another's place at once.
   * @returns false when a file is there that a gateway, or an old name node, doesn't replace.
   */
  async rename(from: string, to: string, signal?: AbortSignal): Promise<boolean> {
    const query = { destination: to, renameoptions: 'OVERWRITE' }
    const answer = await this.nodes.ask<{ boolean?: boolean }>({ method: 'PUT', op: 'RENAME', path: from, query, signal })
    return answer?.boolean ?? true
  }

  /** Undefined when the store has no pages, as before Hadoop 2.8 and 3.0. */
  async #pages(path: string, signal?: AbortSignal): Promise<FileStatus[] | undefined> {
    const found: FileStatus[] = []
    for (let startAfter: string | undefined; ; ) {
      const call = { method: 'GET', op: 'LISTSTATUS_BATCH', path, query: { startAfter }, signal } as const
      const page = await this.nodes.ask<Page>(call).catch(error => {
        if (!(error instanceof RemoteFailure && error.status === 400 && found.length === 0)) throw error
        return undefined
      })
      if (!page?.DirectoryListing) {
        this.#listsInPages = false
        return undefined
      }
      const { partialListing, remainingEntries } = page.DirectoryListing
      const entries = partialListing.FileStatuses.FileStatus
      for (const entry of entries) found.push(entry)
      startAfter = entries.at(-1)?.pathSuffix
      if (remainingEntries === 0 || !startAfter) return found
    }
  }

  async #whole(path: string, signal?: AbortSignal): Promise<FileStatus[]> {
    const call = { method: 'GET', op: 'LISTSTATUS', path, signal } as const
    const answer = await this.nodes.ask<{ FileStatuses?: { FileStatus: FileStatus[] } }>(call)
    return answer?.FileStatuses?.FileStatus ?? []
  }
}

function undefinedIfAbsent(error: unknown): undefined {
  if (!isAbsent(error)) throw error
}
