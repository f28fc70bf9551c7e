import { resolve } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import { localPathOf } from '@millrace/kit/local-paths'
import type { Scheme } from '../../driver.ts'
import { MadeFolders } from '../made-folders.ts'
import { LocalDriver } from './driver.ts'
import { FolderSync } from './folder-sync.ts'

/** Paths and `file:` URIs of folders. */
export function openLocalScheme(): Scheme {
  const folders = { made: new MadeFolders(), sync: new FolderSync() }
  return {
    open: root => new LocalDriver(localPath(root), folders),
    async [Symbol.asyncDispose]() {},
  }
}

/** The absolute path of a local location, see `localPathOf`. A relative one is below the working folder. */
export function localPath(location: string): string {
  const path = localPathOf(location) ?? ''
  if (path === '' || path.includes('\0')) throw invalidParameter(`Artifact location '${location}' names no folder`)
  return resolve(path)
}

/** A location that `localPath` reads as `path`. */
export const localLocation = (path: string): string => path.replaceAll('%', '%25')
