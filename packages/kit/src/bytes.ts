import type { Readable } from 'node:stream'
import type { CallIdentity } from './call-context.ts'

/** Inclusive byte positions, as in an HTTP Range header; without `end` to the last byte; a negative `start` counts from the end. */
export interface ByteRange {
  start: number
  end?: number
}

export interface ReadResult {
  /** Bytes that `body` will deliver. */
  length: number
  /** Bytes of the whole object. */
  size: number
  /** First byte delivered; 0 without a range. */
  start: number
  etag?: string
  lastModified?: Date
  body: Readable
}

/** One of the parts of an upload that StartMultipart said are received here. */
export interface UploadPart {
  uploadId: string
  /** From 1. */
  partNumber: number
}

/** On whose behalf bytes move. */
export interface ByteOptions {
  readonly call?: CallIdentity
  signal?: AbortSignal
}

export interface WriteOptions extends ByteOptions {
  contentType?: string
  /** The body is this part of an upload to the store at the URI, instead of the object. */
  part?: UploadPart
  /** Bytes that `body` will deliver, when known. */
  length?: number
}

interface WriteResult {
  /** Of a part: what completes the upload names it by. */
  etag?: string
}

/**
 * The data path of artifact stores, addressed by URI like ArtifactStoreService. Bytes are streamed with back-pressure.
 * Errors are MlflowErrors: RESOURCE_DOES_NOT_EXIST for a missing object, INVALID_PARAMETER_VALUE for a folder or a bad path.
 */
export interface ByteChannel {
  /** @throws a range beyond the end: MlflowError INVALID_PARAMETER_VALUE with errorClass RANGE_NOT_SATISFIABLE. */
  read(uri: string, options?: ByteOptions & { range?: ByteRange }): Promise<ReadResult>
  /** Nothing is visible at the URI until every byte is written; a body that fails or is aborted leaves nothing. */
  write(uri: string, body: Readable, options?: WriteOptions): Promise<WriteResult>
}

/** Source: RFC 9110 section 14.2. */
export function rangeHeader({ start, end }: ByteRange): string {
  return start < 0 ? `bytes=${start}` : `bytes=${start}-${end ?? ''}`
}
