import { realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import { isAbsent } from './errors.ts'

/** Refuses a path below `root` that symbolic links lead out of it. */
export async function checkContained(root: string, path: string): Promise<void> {
  const real = await realPath(path)
  if (real === path || isBelow(await realPath(root), real)) return
  throw invalidParameter('Invalid path: resolved path is outside the artifact directory')
}

/** Whether `path` is `folder` or below it. Both are absolute, without symbolic links, `.` and `..`. */
export function isBelow(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}

/** The path without symbolic links. What doesn't exist yet counts as being where it would be made. */
export async function realPath(path: string): Promise<string> {
  for (let current = path; ; current = dirname(current)) {
    try {
      return join(await realpath(current), path.slice(current.length))
    } catch (error) {
      if (!isAbsent(error) || current === dirname(current)) throw error
    }
  }
}

export const joinKey = (root: string, key: string): string => (key === '' ? root : join(root, key))
