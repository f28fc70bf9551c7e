import { addAbortSignal, type Readable } from 'node:stream'
import { internalError } from '@millrace/kit/errors'
import { type BodyPart, failingAsCancelled } from '../../body-parts.ts'
import type { DriverWriteOptions } from '../../driver.ts'
import type { Hold } from '../../held-bytes.ts'
import { STREAM_BUFFER_BYTES } from '../../transfers.ts'
import type { StreamedBody } from '../streamed-body.ts'
import { bucketOf, bytesUrl, type GcsLocation, objectName } from './location.ts'

/** Most that an object can be. */
const PUT_SIZE_BYTES_MAX = 5 * 1024 ** 4
/** What Google recommends at least. MLflow leaves it to a library that holds 100 MiB of a stream of unknown length. */
const CHUNK_BYTES = 8 * 1024 * 1024
const CANCEL_TIMEOUT_MS = 30_000
const DEFAULT_TYPE = 'application/octet-stream'
/** The JSON API's status for a chunk that isn't the last. */
const RESUME = 308

/**
 * Puts a stream of any length at `key`: in one request when it fits into a chunk, else chunk by chunk in a resumable upload, whose
 * object appears with the last. Holds the chunk that is on its way, so that it can be sent again, and the next. A longer body of known
 * length passes through in one request when no size of chunks is configured, and when there is no room to hold it.
 */
export async function upload(location: GcsLocation, key: string, body: Readable, options: DriverWriteOptions): Promise<void> {
  const { signal, length } = options
  if (signal) addAbortSignal(signal, body)
  using own = options.hold ? undefined : hold(location, length)
  const { bytes } = options.hold ?? own ?? {}
  if (bytes === 0 && length) return await sendWhole(location, key, { stream: body, length }, options)
  const chunks = chunksOf(body, Math.min(location.config.uploadChunkBytes ?? CHUNK_BYTES, length || CHUNK_BYTES))
  try {
    await sendAll(location, key, chunks, options)
  } finally {
    // A body that is held for its next chunk could not be read to its end by whoever answers the request.
    await chunks.return(undefined)
  }
}

/**
 * Of one body: the chunk on its way and the next. What a pipe holds anyway never passes through. Without a configured size of chunks
 * what is longer than one does: a chunk costs the store a round trip and a commit, with 8 MiB more than its transfer.
 */
export function hold({ held, config: { uploadChunkBytes } }: GcsLocation, length = Number.POSITIVE_INFINITY): Hold {
  const chunkBytes = uploadChunkBytes ?? CHUNK_BYTES
  const canPass = length > STREAM_BUFFER_BYTES && length <= PUT_SIZE_BYTES_MAX
  if (canPass && length > chunkBytes && uploadChunkBytes === undefined) return held.hold(0, false)
  return held.hold(Math.min(length, 2 * chunkBytes), canPass)
}

/** In one request, of which nothing is seen until it is over. */
export async function sendWhole(
  location: GcsLocation,
  key: string,
  body: Buffer | StreamedBody,
  options: DriverWriteOptions,
): Promise<void> {
  const { signal, contentType = DEFAULT_TYPE } = options
  await location.client.send({
    method: 'POST',
    url: bytesUrl(location, 'upload'),
    query: { uploadType: 'media', name: objectName(location, key), fields: 'size' },
    headers: { 'Content-Type': contentType },
    body,
    signal,
  })
}

/**
 * The SDK makes the session; it sends chunks with 2.1 times the processor's time (2.2 s instead of 1.1 s for 512 MiB), which halves the
 * throughput, has no limit on silence and leaves the session behind when it fails.
 */
async function sendAll(
  location: GcsLocation,
  key: string,
  chunks: AsyncGenerator<BodyPart, undefined>,
  options: DriverWriteOptions,
): Promise<void> {
  const first = await chunks.next()
  if (first.done || first.value.last) return sendWhole(location, key, first.value?.bytes ?? Buffer.alloc(0), options)
  const { signal, contentType = DEFAULT_TYPE } = options
  const file = bucketOf(location, signal).file(objectName(location, key))
  const [session] = await file.createResumableUpload({ metadata: { contentType } })
  if (!session) throw internalError('The artifact store gave no place to upload to')
  try {
    await sendChunks(location, session, first.value, chunks, signal)
  } catch (error) {
    // What has arrived would otherwise be kept for a week, though nobody sees it. 499 is the store's response to this.
    const limit = AbortSignal.timeout(CANCEL_TIMEOUT_MS)
    await location.client.send({ method: 'DELETE', url: session, signal: limit, expected: 499 }).catch(() => undefined)
    throw error
  }
}

async function sendChunks(
  location: GcsLocation,
  session: string,
  first: BodyPart,
  rest: AsyncGenerator<BodyPart, undefined>,
  signal?: AbortSignal,
): Promise<void> {
  let offset = 0
  for (let chunk: BodyPart | undefined = first; chunk; ) {
    const filling: Promise<IteratorResult<BodyPart, undefined>> | undefined = chunk.last ? undefined : rest.next()
    filling?.catch(() => undefined)
    await sendChunk(location, session, offset, chunk, signal)
    offset += chunk.bytes.length
    chunk = (await filling)?.value
  }
}

/** Sends what the store hasn't kept yet until it has kept all. A chunk sent twice is kept once, by its position. */
async function sendChunk({ client }: GcsLocation, session: string, offset: number, chunk: BodyPart, signal?: AbortSignal): Promise<void> {
  const end = offset + chunk.bytes.length
  const total = chunk.last ? end : '*'
  for (let start = offset; ; ) {
    const { status, headers, text } = await client.send({
      method: 'PUT',
      url: session,
      headers: { 'Content-Range': `bytes ${start}-${end - 1}/${total}` },
      body: chunk.bytes.subarray(start - offset),
      signal,
      expected: RESUME,
    })
    const kept = status === RESUME ? keptBytes(headers.range) : sizeOf(text)
    if (kept === end && (status === RESUME) !== chunk.last) return
    if (status !== RESUME || kept <= start || kept >= end) throw internalError('The artifact store lost count of the upload')
    start = kept
  }
}

function keptBytes(range: string | undefined): number {
  return range === undefined ? 0 : Number(/^bytes=0-(\d+)$/.exec(range)?.[1] ?? -1) + 1
}

function sizeOf(text: string): number {
  return Number((JSON.parse(text) as { size?: unknown }).size)
}

/** Cuts a body into chunks; nothing for an empty one. Each is filled in place: joined buffers would be held twice for a moment. */
async function* chunksOf(body: Readable, size: number): AsyncGenerator<BodyPart, undefined> {
  let bytes = Buffer.allocUnsafe(size)
  let length = 0
  for await (const part of failingAsCancelled(body)) {
    let rest = part
    // A full chunk waits for one more byte, which tells whether it is the last.
    while (length + rest.length > size) {
      rest = rest.subarray(rest.copy(bytes, length))
      yield { bytes, last: false }
      bytes = Buffer.allocUnsafe(size)
      length = 0
    }
    length += rest.copy(bytes, length)
  }
  if (length > 0) yield { bytes: bytes.subarray(0, length), last: true }
  return undefined
}
