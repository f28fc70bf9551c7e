import { posix } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import { fileInTheWay } from '../../errors.ts'
import type { UploadFolders } from '../made-folders.ts'
import { isMissing, LostSession, STATUS, statusOf } from './errors.ts'
import type { Session } from './session.ts'

const { dirname } = posix

/** Folders that another writer's clean-up may take away while they are made. */
const ATTEMPTS_MAX = 4

/** Refuses a path below `root` that symbolic links lead out of it. What doesn't exist yet counts as being where it would be made. */
export async function checkContained(session: Session, root: string, path: string): Promise<void> {
  const real = await resolvePath(session, path)
  if (real === path) return
  const realRoot = await resolvePath(session, root)
  if (real !== realRoot && !real.startsWith(realRoot.endsWith('/') ? realRoot : `${realRoot}/`)) {
    throw invalidParameter('Invalid path: resolved path is outside the artifact directory')
  }
}

async function resolvePath(session: Session, path: string): Promise<string> {
  for (let current = path; ; current = dirname(current)) {
    try {
      const real = await session.realpath(current)
      if (real !== undefined) return posix.join(real, path.slice(current.length))
    } catch (error) {
      if (!isMissing(error)) throw error
    }
    if (current === '/') throw new Error('the root of the server cannot be resolved')
  }
}

/** Makes a folder and those above it; success when they are there. */
export async function makeFolder(session: Session, path: string, key: string, folders: UploadFolders): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await session.mkdir(path)
      folders.made(path)
      return
    } catch (error) {
      if (error instanceof LostSession) {
        // It may be the answer that was lost.
        folders.made(path)
        throw error
      }
      if (isMissing(error) && path !== '/') {
        if (attempt === ATTEMPTS_MAX) throw error
        await makeFolder(session, dirname(path), key, folders)
        continue
      }
      // OpenSSH's server has one status for all failures, so it is asked what is there.
      const found = await session.find(path)
      if (found?.isDirectory()) return
      if (found) throw fileInTheWay(key, error)
      if (statusOf(error) !== STATUS.failure || attempt === ATTEMPTS_MAX) throw error
    }
  }
}
