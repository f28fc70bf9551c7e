import type { IncomingMessage } from 'node:http'
import { type ByteRange, type ReadResult, rangeHeader } from '@millrace/kit/bytes'
import { internalError } from '@millrace/kit/errors'
import { ResumingBody } from '@millrace/kit/resuming-body'
import { resolveRange } from '../../errors.ts'
import { silentStore } from '../transport-errors.ts'
import { gcsError, hasStatus, isTransient } from './errors.ts'
import { bytesUrl, type GcsLocation, objectName } from './location.ts'

/** Without gzip the store unpacks objects that were stored with that encoding, and then ignores ranges. */
const AS_STORED = { 'Accept-Encoding': 'gzip' }

/**
 * An object, or a range of it, that is one generation from its first byte to its last. The SDK's stream takes 1.6 times the processor's
 * time for the same bytes (2.75 s instead of 1.75 s for 512 MiB), which costs a third of the throughput, and has no limit on silence.
 */
export async function read(location: GcsLocation, key: string, range?: ByteRange, signal?: AbortSignal): Promise<ReadResult> {
  const { client, config } = location
  const url = bytesUrl(location, 'download', objectName(location, key))
  const open = (Range: string | undefined, generation?: string) =>
    client.open({
      method: 'GET',
      url,
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
    silence: silentStore,
    isPassing: isTransient,
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
  if (range || !hasStatus(error, 416)) throw error
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
