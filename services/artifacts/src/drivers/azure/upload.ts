import { randomBytes } from 'node:crypto'
import { addAbortSignal, type Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BlockBlobClient } from '@azure/storage-blob'
import { type BodyPart, partsOf } from '../../body-parts.ts'
import type { DriverWriteOptions } from '../../driver.ts'
import { isLost } from '../system-errors.ts'
import { abandon, blockId, httpHeaders, stateOf } from './blocks.ts'
import { codeOf, isMissing, statusOf } from './errors.ts'

/** Most that Azure takes as one PUT. */
const PUT_SIZE_BYTES_MAX = 5_000 * 1024 * 1024
/** Bodies up to here are held, so that they can be sent again. */
const HELD_SIZE_BYTES_MAX = 1024 * 1024
const BLOCK_SIZE_BYTES_MIN = 8 * 1024 * 1024
const BLOCKS_MAX = 50_000
const BLOCKS_IN_FLIGHT_MAX = 3
/** How long a failed upload waits for the blocks that are on their way. */
const SETTLING_MS_MAX = 5_000
/** An abandoned upload is cleared away in the background when the store can't be told at once. */
const ABANDON_ATTEMPTS_MAX = 8
const ABANDON_DELAY_MS = 1_000
/** For the answer behind a lost connection: the client waits for it. */
const REFUSAL_MS_MAX = 3_000

/**
 * Puts a stream of any length at a place. One of known length passes through as a single PUT, without being held; otherwise it goes as
 * blocks, of which at most one more is held than are in flight.
 */
export async function upload(
  blob: BlockBlobClient,
  body: Readable,
  { length, signal, contentType, contentEncoding }: DriverWriteOptions,
  closing: AbortSignal,
): Promise<void> {
  if (signal) addAbortSignal(signal, body)
  const options = { blobHTTPHeaders: httpHeaders({ contentType, contentEncoding }), abortSignal: signal }
  if (length !== undefined && length > HELD_SIZE_BYTES_MAX && length <= PUT_SIZE_BYTES_MAX) {
    try {
      await blob.upload(body, length, options)
      return
    } catch (error) {
      throw await refusalBehind(blob, error, signal)
    }
  }
  const blocks = partsOf(body, number => blockSizeBytes(number, length))
  try {
    const first = await blocks.next()
    if (first.done || first.value.last) {
      const bytes = first.value?.bytes ?? Buffer.alloc(0)
      await blob.upload(bytes, bytes.length, options)
    } else await uploadBlocks(blob, first.value, blocks, { signal, contentType, contentEncoding }, closing)
  } finally {
    // A body that is held for its next block could not be read to its end by whoever answers the request.
    await blocks.return(undefined)
  }
}

async function uploadBlocks(
  blob: BlockBlobClient,
  first: BodyPart,
  rest: AsyncIterable<BodyPart>,
  { signal, contentType, contentEncoding }: DriverWriteOptions,
  closing: AbortSignal,
): Promise<void> {
  const uploadId = randomBytes(16).toString('hex')
  let ids: string[] = []
  try {
    ids = await sendBlocks(blob, uploadId, first, rest)
    await blob.commitBlockList(ids, { blobHTTPHeaders: httpHeaders({ contentType, contentEncoding }), abortSignal: signal })
  } catch (error) {
    // A commit that was sent twice, since its first answer got lost.
    const mayBeDone = codeOf(error) === 'InvalidBlockList'
    if (mayBeDone && (await stateOf(blob, uploadId, ids, signal).catch(() => undefined)) === 'committed') return
    await abandonInTheEnd(blob, uploadId, closing)
    throw error
  }
}

/** Of one body: blocks on their way, and the next one once in pieces and once joined. Bodies beyond 78 GiB of unknown length take more. */
export function heldBytes(length: number | undefined): number {
  if (length === undefined || length > PUT_SIZE_BYTES_MAX) return (BLOCKS_IN_FLIGHT_MAX + 1) * blockSizeBytes(1, length)
  return length > HELD_SIZE_BYTES_MAX ? 0 : 2 * length
}

/** A store that refuses a body which is still coming cuts the connection, and its answer may be lost; another call gets it. */
async function refusalBehind(blob: BlockBlobClient, error: unknown, signal?: AbortSignal): Promise<unknown> {
  if (!isLost(error)) return error
  const limit = AbortSignal.any([AbortSignal.timeout(REFUSAL_MS_MAX), ...(signal ? [signal] : [])])
  const refusal: unknown = await blob.getProperties({ abortSignal: limit }).catch(reason => reason)
  return statusOf(refusal) > 0 && !isMissing(refusal) ? refusal : error
}

/** Sizes double every 10,000 blocks of a stream of unknown length: 2.4 TiB fit while nothing below 78 GiB needs more than 8 MiB a block. */
function blockSizeBytes(number: number, length: number | undefined): number {
  if (length !== undefined) return Math.max(BLOCK_SIZE_BYTES_MIN, Math.ceil(length / BLOCKS_MAX))
  return BLOCK_SIZE_BYTES_MIN * 2 ** Math.floor((number - 1) / 10_000)
}

async function sendBlocks(blob: BlockBlobClient, uploadId: string, first: BodyPart, rest: AsyncIterable<BodyPart>): Promise<string[]> {
  const tooLong = new AbortController()
  const ids: string[] = []
  const inFlight = new Set<Promise<void>>()
  const failures: unknown[] = []
  const add = async ({ bytes }: BodyPart) => {
    const id = blockId(uploadId, ids.length + 1)
    ids.push(id)
    const sending: Promise<void> = blob
      .stageBlock(id, bytes, bytes.length, { abortSignal: tooLong.signal })
      .then(
        () => undefined,
        error => void failures.push(error),
      )
      .finally(() => inFlight.delete(sending))
    inFlight.add(sending)
    if (inFlight.size >= BLOCKS_IN_FLIGHT_MAX) await Promise.race(inFlight)
    if (failures.length > 0) throw failures[0]
  }
  try {
    await add(first)
    for await (const block of rest) await add(block)
    await Promise.all(inFlight)
    if (failures.length > 0) throw failures[0]
    return ids
  } catch (error) {
    // A block that is on its way could arrive after the upload was abandoned, so it isn't just dropped.
    const timer = setTimeout(() => tooLong.abort(), SETTLING_MS_MAX)
    await Promise.all(inFlight)
    clearTimeout(timer)
    throw error
  }
}

/** Tells the store at once, or later without anybody waiting for it: the blocks are not to be seen, but cost space for a week. */
async function abandonInTheEnd(blob: BlockBlobClient, uploadId: string, closing: AbortSignal): Promise<void> {
  const attempt = () =>
    abandon(blob, uploadId, closing).then(
      () => true,
      () => false,
    )
  if (await attempt()) return
  void (async () => {
    for (let i = 0; i < ABANDON_ATTEMPTS_MAX && !closing.aborted; i++) {
      await sleep(ABANDON_DELAY_MS * 2 ** i, undefined, { ref: false, signal: closing })
      if (await attempt()) return
    }
  })().catch(() => undefined)
}
