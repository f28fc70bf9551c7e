import { realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import { isAbsent } from './errors.ts'

/** Refuses a path below `root` that symbolic links lead out of it. What doesn't exist yet counts as being where it would be made. */
export async function checkContained(root: string, path: string): Promise<void> {
  const real = await resolvePath(path)
  if (real === path) return
  const realRoot = await resolvePath(root)
  if (real !== realRoot && !real.startsWith(realRoot.endsWith('/') ? realRoot : `${realRoot}/`)) {
    throw invalidParameter('Invalid path: resolved path is outside the artifact directory')
  }
}

async function resolvePath(path: string): Promise<string> {
  for (let current = path; ; current = dirname(current)) {
    try {
      return join(await realpath(current), path.slice(current.length))
    } catch (error) {
      if (!isAbsent(error) || current === dirname(current)) throw error
    }
  }
}

export const joinKey = (root: string, key: string): string => (key === '' ? root : join(root, key))
