import type { IncomingMessage } from 'node:http'
import { type ByteRange, type ReadResult, rangeHeader } from '@millrace/kit/bytes'
import { internalError } from '@millrace/kit/errors'
import { ResumingBody } from '@millrace/kit/resuming-body'
import { resolveRange } from '../../errors.ts'
import { gcsError, isPassing, timedOut } from './errors.ts'
import { type GcsLocation, objectName, objectPath } from './location.ts'

/** Without gzip the store unpacks objects that were stored with that encoding, and then ignores ranges. */
const AS_STORED = { 'Accept-Encoding': 'gzip' }

/** An object, or a range of it, that is one generation from its first byte to its last. */
export async function read(location: GcsLocation, key: string, range?: ByteRange, signal?: AbortSignal): Promise<ReadResult> {
  const { client, config } = location
  const path = `/download${objectPath(location, objectName(location, key))}`
  const open = (Range: string | undefined, generation?: string) =>
    client.open({
      method: 'GET',
      path,
      query: { alt: 'media', generation },
      headers: { ...AS_STORED, ...(Range ? { Range } : {}) },
      signal,
    })
  const first = await open(firstRange(range, config.downloadChunkBytes)).catch(error => openEmpty(error, range, () => open(undefined)))
  const { size, start, end } = extentOf(first, range)
  const { 'x-goog-generation': generation, etag, 'last-modified': modified } = first.headers
  const body = new ResumingBody(first, {
    start,
    end: end + 1,
    timeoutMs: config.timeoutMs,
    signal,
    silence: timedOut,
    isPassing,
    told: failure => gcsError(failure, key),
    open: from => open(`bytes=${from}-${lastOf(from, end, config.downloadChunkBytes)}`, generation && String(generation)),
  })
  return {
    body,
    start,
    length: end + 1 - start,
    size,
    etag: etag && quoted(etag),
    lastModified: modified ? new Date(modified) : undefined,
  }
}

/** The JSON API's tags come without the quotes that HTTP wants (RFC 9110 section 8.8.3). */
const quoted = (etag: string) => (/^(W\/)?"/.test(etag) ? etag : `"${etag}"`)

function firstRange(range: ByteRange | undefined, chunkBytes: number | undefined): string | undefined {
  const { start, end = Number.POSITIVE_INFINITY } = range ?? { start: 0 }
  if (start < 0 || chunkBytes === undefined) return range && rangeHeader(range)
  return rangeHeader({ start, end: lastOf(start, end, chunkBytes) })
}

const lastOf = (from: number, end: number, chunkBytes = Number.POSITIVE_INFINITY) => Math.min(end, from + chunkBytes - 1)

/** A chunk that nobody asked for as a range doesn't fail for an object without bytes. */
async function openEmpty(error: unknown, range: ByteRange | undefined, open: () => Promise<IncomingMessage>): Promise<IncomingMessage> {
  if (range || (error as { status?: unknown }).status !== 416) throw error
  return open()
}

/** First and last byte of what was asked for; the answer begins with the first. */
function extentOf(answer: IncomingMessage, range?: ByteRange): { size: number; start: number; end: number } {
  try {
    const [, from = '0', total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.headers['content-range'] ?? '') ?? []
    const size = Number(total ?? answer.headers['content-length'] ?? 0)
    const extent = { size, ...(range ? resolveRange(range, size) : { start: 0, end: size - 1 }) }
    if (Number(from) !== extent.start) throw internalError('The artifact store sent another range than it was asked for')
    return extent
  } catch (error) {
    answer.destroy()
    throw error
  }
}
