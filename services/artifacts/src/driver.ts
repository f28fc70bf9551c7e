import type { Readable } from 'node:stream'
import type { ByteRange, ReadResult, UploadPart } from '@millrace/kit/bytes'
import type { Hold } from './held-bytes.ts'

/** A direct child of a folder. */
export interface Entry {
  name: string
  isDir: boolean
  /** 0 for folders. */
  sizeBytes: number
}

export interface Stat {
  isDir: boolean
  /** 0 for folders. */
  sizeBytes: number
}

export interface ReadOptions {
  range?: ByteRange
  signal?: AbortSignal
}

export interface DriverWriteOptions {
  contentType?: string
  contentEncoding?: string
  /** Bytes that the body will deliver, when known. */
  length?: number
  /** What the driver's `hold` gave for the body; absent: the driver asks for it by itself. */
  hold?: Hold
  signal?: AbortSignal
}

/**
 * One artifact store below one root. Keys are `/`-separated, without empty, `.` or `..` segments; "" is the root itself.
 * A folder exists as long as something is in it; whether an empty one exists is the store's own business. Every call
 * ends within the configured timeouts and fails only with MlflowErrors: RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE
 * where a file is in a folder's place or the reverse, PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE, DEADLINE_EXCEEDED, …
 */
export interface Driver {
  /** Undefined when nothing is at the key. */
  stat(key: string, signal?: AbortSignal): Promise<Stat | undefined>
  /** Direct children, each once, in code point order of their names. Nothing for a file or a missing folder. */
  list(key: string, signal?: AbortSignal): AsyncIterable<Entry>
  /**
   * The object as it was when the call returned, also while it is being replaced. Destroying the body releases everything.
   * @throws RESOURCE_DOES_NOT_EXIST; a folder, see `isDirectory`; a range beyond the end, see `rangeNotSatisfiable`.
   */
  read(key: string, options?: ReadOptions): Promise<ReadResult>
  /**
   * Replaces the object. Durable when it returns; until then the old object, or none, is what others see. Takes the body
   * as fast as the store does, in bounded memory. When the body fails or the signal aborts, nothing is left behind. When the
   * store fails, the body is left as it is, with nobody reading it: a client that still sends can be answered.
   */
  write(key: string, body: Readable, options?: DriverWriteOptions): Promise<void>
  /** Reserves the most that `write` holds of a body of that length before it passes it on. Absent: bodies pass through. */
  hold?(length: number | undefined): Hold
  /** Removes the object or folder at the key with everything below it. Absent is success. */
  remove(key: string, signal?: AbortSignal): Promise<void>
  /** Present where clients can send parts, to the store by themselves or through this process. */
  readonly multipart?: Multipart
  /** Present where the store signs URLs. */
  readonly presign?: Presign
}

export interface PartTarget {
  /** From 1. */
  partNumber: number
  url: string
  headers: Record<string, string>
}

export interface SentPart {
  partNumber: number
  etag: string
  url: string
}

export interface PartWriteOptions {
  /** Bytes that the body will deliver, when known. */
  length?: number
  signal?: AbortSignal
}

/** Nothing is visible at the key until `complete` has returned. */
export interface Multipart {
  /** Parts that one upload may have. */
  readonly partsMax: number
  /** URLs of parts are "" where `receive` takes them. */
  start(key: string, partCount: number, signal?: AbortSignal): Promise<{ uploadId: string; parts: PartTarget[] }>
  /**
   * Joins the parts in the order of their numbers. Repeating it after success is success.
   * @throws RESOURCE_DOES_NOT_EXIST for an upload that never was or was aborted; INVALID_PARAMETER_VALUE for parts that the store doesn't have.
   */
  complete(key: string, uploadId: string, parts: readonly SentPart[], signal?: AbortSignal): Promise<void>
  /** Forgets the upload and its parts. Absent is success. */
  abort(key: string, uploadId: string, signal?: AbortSignal): Promise<void>
  /** Whether uploads that begin now have their parts received, where that changes; absent: whether `receive` is there. */
  readonly isReceiving?: boolean
  /**
   * Takes a part through this process; one that was sent before is replaced. A part that is cut off leaves the one before. When the
   * part is refused, the body is left as it is.
   * @returns its ETag.
   * @throws RESOURCE_DOES_NOT_EXIST, before the body is read, unless the upload is open.
   */
  receive?(part: UploadPart, body: Readable, options?: PartWriteOptions): Promise<string>
}

export interface Presigned {
  url: string
  /** What a client must send along. */
  headers: Record<string, string>
}

export interface Presign {
  /** @throws RESOURCE_DOES_NOT_EXIST for a missing object. */
  download(key: string, expirationSeconds: number, signal?: AbortSignal): Promise<Presigned & { sizeBytes: number }>
  /** Present where uploads are signed as well. */
  upload?(key: string, expirationSeconds: number, contentType: string): Promise<Presigned>
}

/** The stores of one URI scheme: holds what its drivers share (connections, credentials). */
export interface Scheme extends AsyncDisposable {
  /**
   * @param root the URI as it was given, without a fragment.
   * @param about whether the operator named the host; no other host may be shown configured credentials.
   */
  open(root: string, about?: { isTrusted: boolean }): Promise<Driver> | Driver
}
