import { posix } from 'node:path'
import { TEMPORARY_PREFIX } from '../keys.ts'

/** What one upload may do about folders around its file. */
export interface UploadFolders extends Disposable {
  /** Says that `outermost` was made, and with it the folders below it on the way to the file. */
  made(outermost: string): void
  /** Folders around the file that this upload, or another one beside it, made; the innermost first. */
  readonly own: readonly string[]
  /** Says that the file is there, so that the folders are its. */
  keep(): void
}

interface Child {
  name: string
  isDir: boolean
}

/**
 * Folders of a store that are there only for uploads in progress. The last of these to fail takes them away: the one that made a
 * folder may have failed while others were still in it. A folder that was there before stays, even if it is empty.
 */
export class MadeFolders {
  readonly #uploads = new Map<string, number>()
  readonly #made = new Set<string>()

  /** @param folder the absolute path of the folder of the upload's file. Disposing the result ends the upload. */
  enter(folder: string): UploadFolders {
    const around: string[] = []
    for (let path = folder; path !== posix.dirname(path); path = posix.dirname(path)) around.push(path)
    for (const path of around) this.#uploads.set(path, (this.#uploads.get(path) ?? 0) + 1)
    const made = this.#made
    return {
      made(outermost) {
        for (const path of around.slice(0, around.indexOf(outermost) + 1)) made.add(path)
      },
      get own() {
        return around.filter(path => made.has(path))
      },
      keep() {
        for (const path of around) made.delete(path)
      },
      [Symbol.dispose]: () => this.#leave(around),
    }
  }

  /**
   * Whether a folder is to be listed: not while it is there only for uploads in progress of this process, and nothing else is in it.
   * @param list what is directly in a folder, asked for folders of uploads in progress only.
   */
  async isListed(folder: string, list: (folder: string) => Promise<readonly Child[]>): Promise<boolean> {
    if (!this.#made.has(folder)) return true
    for (const { name, isDir } of await list(folder)) {
      if (name.startsWith(TEMPORARY_PREFIX)) continue
      if (!isDir || (await this.isListed(posix.join(folder, name), list))) return true
    }
    return false
  }

  #leave(around: readonly string[]): void {
    for (const path of around) {
      const others = (this.#uploads.get(path) ?? 1) - 1
      if (others > 0) this.#uploads.set(path, others)
      else {
        this.#uploads.delete(path)
        this.#made.delete(path)
      }
    }
  }
}
