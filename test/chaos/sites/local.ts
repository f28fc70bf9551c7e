import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { filesBelow } from '../../compat/deletion.ts'
import { tempFolder } from '../../services/process.ts'

export interface LocalSite extends AsyncDisposable {
  readonly destination: string
  readonly env: Record<string, string>
  contents(): Promise<string[]>
  /** Resolves as soon as a file is being written into a folder below the destination. */
  written(folder: string): Promise<void>
}

/** A local folder. */
export async function openLocal(): Promise<LocalSite> {
  const folder = await tempFolder('store')
  return {
    destination: folder.path,
    env: {},
    contents: () => filesBelow(folder.path),
    async written(name) {
      while ((await readdir(join(folder.path, name)).catch(() => [])).length === 0) await sleep(1)
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}
