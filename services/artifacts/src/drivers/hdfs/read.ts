import { Readable } from 'node:stream'
import type { ByteRange, ReadResult } from '@millrace/kit/bytes'
import { temporarilyUnavailable } from '@millrace/kit/errors'
import { ResumingBody } from '@millrace/kit/resuming-body'
import { isDirectory, resolveRange } from '../../errors.ts'
import { withoutTimeout } from '../http-call.ts'
import { isUnreachable } from '../system-errors.ts'
import { silentStore } from '../transport-errors.ts'
import { hdfsError } from './errors.ts'
import type { FileStatus, Files } from './files.ts'

const ATTEMPTS_MAX = 8

export interface ReadTarget {
  path: string
  key: string
  range?: ByteRange
  signal?: AbortSignal
}

/** A file, or a range of it, that is one version from its first byte to its last. */
export async function readFile(files: Files, { path, key, range, signal }: ReadTarget): Promise<ReadResult> {
  const { wire } = files.nodes
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const status = await files.status(path, signal)
    if (status.type === 'DIRECTORY') throw isDirectory(key)
    const { length: size } = status
    const { start, end } = range ? resolveRange(range, size) : { start: 0, end: size - 1 }
    const length = end - start + 1
    const about = { start, length, size, etag: etagOf(status), lastModified: new Date(status.modificationTime) }
    if (length === 0) return { ...about, body: Readable.from([], { objectMode: false }) }
    /** Undefined when another version is there by now. A data node that has opened a file goes on reading it. */
    const open = async (from: number) => {
      const query = { offset: from, length: end + 1 - from }
      const answer = withoutTimeout(await files.nodes.open({ method: 'GET', op: 'OPEN', path, query, signal }))
      try {
        if (isSame(await files.status(path, signal), status)) return answer
      } catch (error) {
        answer.destroy()
        throw error
      }
      answer.destroy()
      return undefined
    }
    const first = await open(start)
    if (!first) continue
    const again = async (from: number) => {
      const next = await open(from)
      if (!next) throw temporarilyUnavailable(`Artifact '${key}' was replaced while it was read`)
      return next
    }
    const body = new ResumingBody(first, {
      start,
      end: end + 1,
      timeoutMs: wire.timeoutMs,
      signal,
      silence: silentStore,
      isPassing: isUnreachable,
      told: failure => hdfsError(failure, key),
      open: again,
    })
    return { ...about, body }
  }
  throw temporarilyUnavailable(`Artifact '${key}' is replaced faster than it can be read`)
}

function isSame(a: FileStatus, b: FileStatus): boolean {
  return a.fileId === b.fileId && a.modificationTime === b.modificationTime && a.length === b.length
}

function etagOf({ fileId = 0, modificationTime, length }: FileStatus): string {
  return `"${[fileId, modificationTime, length].map(number => number.toString(36)).join('-')}"`
}
