import type { IncomingMessage } from 'node:http'
import { Transform } from 'node:stream'
import type { ByteRange, ReadResult } from '@millrace/kit/bytes'
import { internalError } from '@millrace/kit/errors'
import { resolveRange } from '../../errors.ts'
import { httpError } from './errors.ts'

/** What a GET was answered, whether or not the other server knows ranges. `sizeOf` is asked when it didn't say how long the object is. */
export async function readResult(
  answer: IncomingMessage,
  key: string,
  range: ByteRange | undefined,
  sizeOf: () => Promise<number>,
): Promise<ReadResult> {
  const { headers } = answer
  const said = headers['last-modified'] === undefined ? undefined : new Date(headers['last-modified'])
  const about = { etag: headers.etag, lastModified: said && Number.isNaN(said.getTime()) ? undefined : said }
  const length = headers['content-length'] === undefined ? undefined : Number(headers['content-length'])
  if (answer.statusCode === 206) {
    const [, first, last, whole] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers['content-range'] ?? '') ?? []
    const [start, end, size] = [Number(first), Number(last), Number(whole)]
    if (!range || first === undefined) throw internalError('The other tracking server answered with a range that was not asked for')
    const wanted = resolveRange(range, size)
    if (start > wanted.start || end < wanted.end) throw internalError('The other tracking server answered with another range')
    return { ...about, start: wanted.start, size, ...cut(answer, key, wanted.start - start, wanted.end - wanted.start + 1) }
  }
  const size = length ?? (await sizeOf())
  if (!range) return { ...about, start: 0, size, ...cut(answer, key, 0, size, true) }
  const { start, end } = resolveRange(range, size)
  return { ...about, start, size, ...cut(answer, key, start, end - start + 1) }
}

/**
 * The `length` bytes after the first `skip` of a body, which is let go of as soon as they have passed.
 * @param isWhole whether more bytes are an error, since the object is not the one whose length is known.
 */
function cut(answer: IncomingMessage, key: string, skip: number, length: number, isWhole = false): { body: Transform; length: number } {
  let toSkip = skip
  let left = length
  const body = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const from = Math.min(toSkip, chunk.length)
      toSkip -= from
      const part = chunk.subarray(from, from + left)
      left -= part.length
      if (isWhole && part.length < chunk.length) return done(internalError(`Artifact '${key}' became longer while it was read`))
      if (left === 0 && !isWhole) {
        answer.unpipe(body)
        answer.destroy()
        body.end()
      }
      done(null, part)
    },
    flush(done) {
      done(left === 0 ? null : internalError(`Artifact '${key}' became shorter while it was read`))
    },
    destroy(error, done) {
      answer.destroy()
      done(error)
    },
  })
  answer.once('error', error => {
    if (left === 0) body.end()
    else body.destroy(httpError(error, key))
  })
  answer.pipe(body)
  return { body, length }
}
