import { mkdir, realpath, rmdir } from 'node:fs/promises'
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

/** A folder that exists, and those above it that were made for it. */
export interface MadeFolder {
  path: string
  /** Topmost folder that was made; undefined when all were there. */
  firstMade?: string
}

export async function makeFolder(path: string): Promise<MadeFolder> {
  return { path, firstMade: await mkdir(path, { recursive: true }) }
}

/** Removes a folder and those above it, below `root`, as far as they are empty: one whose only upload failed never was. */
export async function removeEmpty(root: string, path: string): Promise<void> {
  for (let current = path; current.startsWith(`${root}/`); current = dirname(current)) {
    try {
      await rmdir(current)
    } catch {
      return
    }
  }
}

/** Folders whose entries changed when `folder` was made and got a file: itself and the parents of all that were made. */
export function changedFolders({ path, firstMade }: MadeFolder): string[] {
  const folders = [path]
  if (firstMade === undefined) return folders
  const top = dirname(firstMade)
  for (let current = path; current !== top && current !== dirname(current); ) {
    current = dirname(current)
    folders.push(current)
  }
  return folders
}

export const joinKey = (root: string, key: string): string => (key === '' ? root : join(root, key))
