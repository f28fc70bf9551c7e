import { addAbortSignal, type Readable } from 'node:stream'
import { internalError } from '@millrace/kit/errors'
import { failingAsCancelled } from '../../body-parts.ts'
import type { DriverWriteOptions } from '../../driver.ts'
import type { Hold } from '../../held-bytes.ts'
import { STREAM_BUFFER_BYTES } from '../../transfers.ts'
import type { StreamedBody } from '../streamed-body.ts'
import { type GcsLocation, objectName, objectPath } from './location.ts'

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
  const chunks = chunksOf(body, location.config.uploadChunkBytes ?? CHUNK_BYTES)
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

async function sendWhole(
  location: GcsLocation,
  key: string,
  body: readonly Buffer[] | StreamedBody,
  { signal, contentType = DEFAULT_TYPE }: DriverWriteOptions,
): Promise<void> {
  const query = { uploadType: 'media', name: objectName(location, key), fields: 'size' }
  const headers = { 'Content-Type': contentType }
  await location.client.send({ method: 'POST', path: uploadPath(location), query, headers, body, signal })
}

const uploadPath = (location: GcsLocation) => `/upload${objectPath(location)}`

async function sendAll(
  location: GcsLocation,
  key: string,
  chunks: AsyncGenerator<Chunk, undefined>,
  options: DriverWriteOptions,
): Promise<void> {
  const first = await chunks.next()
  if (first.done || first.value.last) return sendWhole(location, key, first.value?.bytes ?? [], options)
  const { signal, contentType = DEFAULT_TYPE } = options
  const { headers } = await location.client.send({
    method: 'POST',
    path: uploadPath(location),
    query: { uploadType: 'resumable', name: objectName(location, key), fields: 'size' },
    headers: { 'Content-Type': 'application/json; charset=UTF-8' },
    body: [Buffer.from(JSON.stringify({ contentType }))],
    signal,
  })
  const session = headers.location
  if (!session) throw internalError('The artifact store gave no place to upload to')
  try {
    await sendChunks(location, session, first.value, chunks, signal)
  } catch (error) {
    // What has arrived would otherwise be kept for a week, though nobody sees it. 499 is the store's answer to this.
    const limit = AbortSignal.timeout(CANCEL_TIMEOUT_MS)
    await location.client.send({ method: 'DELETE', path: session, signal: limit, alsoFine: [404, 410, 499] }).catch(() => undefined)
    throw error
  }
}

interface Chunk {
  bytes: Buffer[]
  length: number
  last: boolean
}

async function sendChunks(
  location: GcsLocation,
  session: string,
  first: Chunk,
  rest: AsyncGenerator<Chunk, undefined>,
  signal?: AbortSignal,
): Promise<void> {
  let offset = 0
  for (let chunk: Chunk | undefined = first; chunk; ) {
    const filling: Promise<IteratorResult<Chunk, undefined>> | undefined = chunk.last ? undefined : rest.next()
    filling?.catch(() => undefined)
    await sendChunk(location, session, offset, chunk, signal)
    offset += chunk.length
    chunk = (await filling)?.value
  }
}

/** Sends what the store hasn't kept yet until it has kept all. A chunk sent twice is kept once, by its position. */
async function sendChunk({ client }: GcsLocation, session: string, offset: number, chunk: Chunk, signal?: AbortSignal): Promise<void> {
  const end = offset + chunk.length
  const total = chunk.last ? end : '*'
  for (let start = offset; ; ) {
    const { status, headers, text } = await client.send({
      method: 'PUT',
      path: session,
      headers: { 'Content-Range': `bytes ${start}-${end - 1}/${total}` },
      body: from(chunk.bytes, start - offset),
      signal,
      alsoFine: [RESUME],
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

/** What is left of the buffers after `skip` bytes. */
function from(buffers: readonly Buffer[], skip: number): Buffer[] {
  if (skip === 0) return [...buffers]
  return [Buffer.concat(buffers).subarray(skip)]
}

/** Cuts a body into chunks; nothing for an empty one. */
async function* chunksOf(body: Readable, size: number): AsyncGenerator<Chunk, undefined> {
  let bytes: Buffer[] = []
  let length = 0
  for await (const part of failingAsCancelled(body)) {
    let rest = part
    // A full chunk waits for one more byte, which tells whether it is the last.
    while (length + rest.length > size) {
      bytes.push(rest.subarray(0, size - length))
      yield { bytes, length: size, last: false }
      rest = rest.subarray(size - length)
      bytes = []
      length = 0
    }
    bytes.push(rest)
    length += rest.length
  }
  if (length > 0) yield { bytes, length, last: true }
  return undefined
}
