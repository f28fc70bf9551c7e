import { isAbsolute, resolve } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import type { Scheme } from '../../driver.ts'
import { MadeFolders } from '../made-folders.ts'
import { LocalDriver } from './driver.ts'
import { FolderSync } from './folder-sync.ts'

/** Absolute paths, and `file:` URIs, whose paths are percent-decoded as Python's url2pathname does. */
export function openLocalScheme(): Scheme {
  const folders = { made: new MadeFolders(), sync: new FolderSync() }
  return {
    open: root => new LocalDriver(localPath(root), folders),
    async [Symbol.asyncDispose]() {},
  }
}

export function localPath(uri: string): string {
  if (!/^file:/i.test(uri)) {
    if (!isAbsolute(uri)) throw invalidParameter(`Artifact location '${uri}' is not an absolute path`)
    return resolve(uri)
  }
  const path = uri
    .slice('file:'.length)
    .replace(/^\/\/[^/]*/, '')
    .replace(/[?#].*$/, '')
  try {
    const decoded = decodeURIComponent(path)
    if (isAbsolute(decoded) && !decoded.includes('\0')) return resolve(decoded)
  } catch {
    // Falls through to the one refusal.
  }
  throw invalidParameter(`Artifact location '${uri}' is not an absolute path`)
}
