import { resolve } from 'node:path'
import { invalidParameter } from '@millrace/kit/errors'
import { percentDecode } from '@millrace/kit/python-urls'
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

/**
 * The absolute path of a location, percent-decoded whether it is a path or a `file:` URI, as MLflow does: docs/decisions/local-locations.md.
 * A relative one is below the working folder. A URI's host, query and fragment are not part of it.
 */
export function localPath(location: string): string {
  const written = /^file:/i.test(location)
    ? location
        .slice('file:'.length)
        .replace(/^\/\/[^/?#]*/, '')
        .replace(/[?#].*$/s, '')
    : location
  const path = percentDecode(written)
  if (path === '' || path.includes('\0')) throw invalidParameter(`Artifact location '${location}' names no folder`)
  return resolve(path)
}

/** A location that `localPath` reads as `path`. */
export const localLocation = (path: string): string => path.replaceAll('%', '%25')
