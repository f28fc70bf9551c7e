import { addAbortSignal, type Readable } from 'node:stream'
import {
  type CompletedPart,
  CompleteMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
  type UploadPartCommandInput,
} from '@aws-sdk/client-s3'
import { type BodyPart, partsOf } from '../../body-parts.ts'
import type { DriverWriteOptions } from '../../driver.ts'
import type { Hold } from '../../held-bytes.ts'
import { STREAM_BUFFER_BYTES } from '../../transfers.ts'
import { abandon } from './abandon.ts'
import { beginUpload } from './begin.ts'
import { partArgs, sdkArgs } from './extra-args.ts'
import { objectParams, type S3Location } from './location.ts'
import { passThrough } from './pass-through.ts'

/** Most that S3 takes as one PUT. */
const PUT_SIZE_BYTES_MAX = 5 * 1024 ** 3
/** Also the largest object that goes as one PUT when it is held. S3 takes parts from 5 MiB. */
const PART_SIZE_BYTES_MIN = 8 * 1024 * 1024
const PARTS_MAX = 10_000
const PARTS_IN_FLIGHT_MAX = 3

/**
 * Puts a stream of any length at `key`, holding at most one part more than are in flight. Parts are buffered so that each
 * can be sent again; the object appears with the completion. A body that there is no room for passes through as one PUT.
 */
export async function upload(location: S3Location, key: string, body: Readable, options: DriverWriteOptions): Promise<void> {
  const { signal, length } = options
  if (signal) addAbortSignal(signal, body)
  using own = options.hold ? undefined : hold(location, length)
  const { bytes } = options.hold ?? own ?? {}
  if (bytes === 0 && length) return await passThrough(location, putParams(location, key, options), { stream: body, length }, signal)
  const parts = partsOf(body, number => partSizeBytes(number, length))
  try {
    await sendAll(location, key, parts, options)
  } finally {
    // A body that is held for its next part could not be read to its end by whoever answers the request.
    await parts.return(undefined)
  }
}

async function sendAll(
  location: S3Location,
  key: string,
  parts: AsyncGenerator<BodyPart, undefined>,
  options: DriverWriteOptions,
): Promise<void> {
  const { signal } = options
  const first = await parts.next()
  const about = putParams(location, key, options)
  if (first.done || first.value.last) {
    await location.client.send(new PutObjectCommand({ ...about, Body: first.value?.bytes ?? Buffer.alloc(0) }), { abortSignal: signal })
    return
  }
  const UploadId = await beginUpload(location, about, signal)
  const target = { ...objectParams(location, key), ...partArgs(location.config.uploadExtraArgs), UploadId }
  try {
    const sent = await sendParts(location, target, first.value, parts, signal)
    await location.client.send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload: { Parts: sent } }), { abortSignal: signal })
  } catch (error) {
    await abandon(location, target)
    throw error
  }
}

function putParams(location: S3Location, key: string, { contentType, contentEncoding }: DriverWriteOptions) {
  const { uploadExtraArgs } = location.config
  return { ...objectParams(location, key), ContentType: contentType, ContentEncoding: contentEncoding, ...sdkArgs(uploadExtraArgs) }
}

/**
 * Of one body: parts on their way, and the next one once in pieces and once joined. Bodies beyond 16 GiB of unknown length take more.
 * Those that a pipe holds anyway never pass through, nor those that a checksum is wanted of, which the SDK makes of what is held.
 */
export function hold({ held, config }: S3Location, length: number | undefined): Hold {
  const bytes = Math.min(length ?? Number.POSITIVE_INFINITY, (PARTS_IN_FLIGHT_MAX + 1) * partSizeBytes(1, length))
  const isOnePut = length !== undefined && length > STREAM_BUFFER_BYTES && length <= PUT_SIZE_BYTES_MAX
  return held.hold(bytes, isOnePut && !('ChecksumAlgorithm' in config.uploadExtraArgs))
}

/**
 * Sizes that let a stream of unknown length grow past 10,000 parts of the smallest: they double every 2,000 parts, so that
 * 484 GiB fit while nothing below 16 GiB needs more than 8 MiB a part.
 */
function partSizeBytes(number: number, length: number | undefined): number {
  if (length !== undefined) return Math.max(PART_SIZE_BYTES_MIN, Math.ceil(length / PARTS_MAX))
  return PART_SIZE_BYTES_MIN * 2 ** Math.floor((number - 1) / 2000)
}

/** The store has made them of what it got, and wants them back with the completion. */
function checksumsOf(answer: object): Partial<CompletedPart> {
  return Object.fromEntries(Object.entries(answer).filter(([name, value]) => value !== undefined && /^Checksum(?!Type)/.test(name)))
}

type Target = ReturnType<typeof objectParams> & { UploadId: string | undefined }

async function sendParts(location: S3Location, target: Target, first: BodyPart, rest: AsyncIterable<BodyPart>, signal?: AbortSignal) {
  const failed = new AbortController()
  const abortSignal = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal
  const sent: CompletedPart[] = []
  const inFlight = new Set<Promise<void>>()
  const failures: unknown[] = []
  const { ChecksumAlgorithm } = sdkArgs(location.config.uploadExtraArgs) as Pick<UploadPartCommandInput, 'ChecksumAlgorithm'>
  const checksum = ChecksumAlgorithm && { ChecksumAlgorithm }
  const send = async (number: number, bytes: Buffer) => {
    const command = new UploadPartCommand({ ...target, ...checksum, PartNumber: number, Body: bytes })
    const { ETag, ...answer } = await location.client.send(command, { abortSignal })
    sent[number - 1] = { PartNumber: number, ETag, ...checksumsOf(answer) }
  }
  const add = async (number: number, part: BodyPart) => {
    const sending = send(number, part.bytes).finally(() => inFlight.delete(sending))
    sending.catch(error => {
      failures.push(error)
      failed.abort()
    })
    inFlight.add(sending)
    if (inFlight.size >= PARTS_IN_FLIGHT_MAX) await Promise.race(inFlight)
  }
  try {
    await add(1, first)
    let number = 2
    for await (const part of rest) await add(number++, part)
    await Promise.all(inFlight)
    return sent
  } catch (error) {
    // The first part that failed made those beside it fail.
    const [reason = error] = failures
    failed.abort()
    await Promise.allSettled(inFlight)
    throw reason
  }
}
