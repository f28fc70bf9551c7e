import type { IncomingMessage } from 'node:http'
import { type Readable, Transform } from 'node:stream'
import { type ByteRange, type ReadResult, rangeHeader } from '@millrace/kit/bytes'
import { internalError } from '@millrace/kit/errors'
import { isToldApart, ResumingBody } from '@millrace/kit/resuming-body'
import { resolveRange } from '../../errors.ts'
import { withoutTimeout } from '../http-call.ts'
import { isUnreachable } from '../system-errors.ts'
import { silentStore } from '../transport-errors.ts'
import { httpError } from './errors.ts'

export interface HttpRead {
  key: string
  range?: ByteRange
  /** Longest silence of the other server. */
  timeoutMs: number
  signal?: AbortSignal
  /** A successful answer to a GET with these headers. */
  get(headers: Record<string, string>): Promise<IncomingMessage>
  /** Asked when an answer doesn't say how long the object is. */
  sizeOf(): Promise<number>
}

/**
 * An artifact, or a range of it, whether or not the other server knows ranges. Where that server tells versions apart, the body goes on
 * where it was when its connection is lost.
 */
export async function read({ key, range, timeoutMs, signal, get, sizeOf }: HttpRead): Promise<ReadResult> {
  const open = async (headers: Record<string, string>) => withoutTimeout(await get(headers))
  const answer = await open(range ? { Range: rangeHeader(range) } : {})
  try {
    const { from, start, end, size, isWhole } = await extentOf(answer, range, sizeOf)
    const etag = answer.headers.etag
    const modified = new Date(answer.headers['last-modified'] ?? Number.NaN)
    const lastModified = Number.isNaN(modified.getTime()) ? undefined : modified
    const isTold = isToldApart({ etag, lastModified })
    const body = new ResumingBody(from === start && isWhole ? answer : cut(answer, start - from, end - start), {
      start,
      end,
      timeoutMs,
      silence: silentStore,
      signal,
      isPassing: failure => isTold && isUnreachable(failure),
      told: failure => httpError(failure, key),
      open: async position => {
        const rest = { start: position, end: end - 1 }
        const again = await open({ Range: rangeHeader(rest), 'If-Range': etag ?? '' })
        try {
          const extent = await extentOf(again, rest, sizeOf)
          if (again.headers.etag !== etag || extent.size !== size) throw internalError(`Artifact '${key}' changed while it was read`)
          return cut(again, position - extent.from, end - position)
        } catch (error) {
          again.destroy()
          throw error
        }
      },
    })
    return { body, start, length: end - start, size, etag, lastModified }
  } catch (error) {
    answer.destroy()
    throw error
  }
}

interface Extent {
  /** First byte of the answer. */
  from: number
  /** First byte that was asked for, and the one after the last. */
  start: number
  end: number
  size: number
  /** Whether the answer ends where what was asked for does. */
  isWhole: boolean
}

async function extentOf(
  { headers, statusCode }: IncomingMessage,
  range: ByteRange | undefined,
  sizeOf: HttpRead['sizeOf'],
): Promise<Extent> {
  if (statusCode === 206) {
    const [, first, last, whole] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers['content-range'] ?? '') ?? []
    if (!range || first === undefined) throw internalError('The other tracking server answered with a range that was not asked for')
    const { start, end } = resolveRange(range, Number(whole))
    if (Number(first) > start || Number(last) < end) throw internalError('The other tracking server answered with another range')
    return { from: Number(first), start, end: end + 1, size: Number(whole), isWhole: Number(last) === end }
  }
  const size = headers['content-length'] === undefined ? await sizeOf() : Number(headers['content-length'])
  const { start, end } = range ? resolveRange(range, size) : { start: 0, end: size - 1 }
  return { from: 0, start, end: end + 1, size, isWhole: end === size - 1 }
}

/** The `length` bytes after the first `skip` of an answer, which is let go of as soon as they have passed. */
function cut(answer: IncomingMessage, skip: number, length: number): Readable {
  let toSkip = skip
  let left = length
  const body = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const from = Math.min(toSkip, chunk.length)
      toSkip -= from
      const part = chunk.subarray(from, from + left)
      left -= part.length
      if (left === 0) {
        answer.unpipe(body)
        answer.destroy()
        body.end()
      }
      done(null, part)
    },
    destroy(error, done) {
      answer.destroy()
      done(error)
    },
  })
  answer.once('error', error => (left === 0 ? body.end() : body.destroy(error)))
  answer.pipe(body)
  return body
}
