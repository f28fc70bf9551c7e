import { checkText } from './checked-text.ts'
import { invalidParameter } from './errors.ts'

/** A key below the root of a store. */
export const UPLOAD_PATH_BYTES_MAX = 4_096
/** Such a path, in which an escaped character has three bytes, and the root before it. */
const URI_BYTES_MAX = 3 * UPLOAD_PATH_BYTES_MAX + 2_048
/** Those of S3 are some hundred characters, session URLs of Google Cloud Storage up to about a thousand. */
const UPLOAD_ID_BYTES_MAX = 2_048
/** The largest part number of S3, the most generous of the stores. */
export const UPLOAD_PARTS_MAX = 10_000
/** Received parts have the longest, of about a hundred characters. */
const ETAG_BYTES_MAX = 1_024
/** A presigned URL with a session token of some thousand characters. */
const PART_URL_BYTES_MAX = 16_384

interface SentPart {
  readonly partNumber: number
  readonly etag: string
  readonly url: string
}

/** @throws INVALID_PARAMETER_VALUE for what can name no upload of any store. */
export function checkUpload({ uri, uploadId }: { uri: string; uploadId: string }): void {
  checkText('uri', uri, URI_BYTES_MAX)
  checkUploadId(uploadId)
}

export function checkUploadId(uploadId: string): void {
  checkText('upload_id', uploadId, UPLOAD_ID_BYTES_MAX)
}

/** @throws INVALID_PARAMETER_VALUE for parts that no store joins. */
export function checkSentParts(parts: readonly SentPart[]): void {
  if (parts.length === 0) throw invalidParameter('parts must not be empty')
  if (parts.length > UPLOAD_PARTS_MAX) throw invalidParameter(`parts must be at most ${UPLOAD_PARTS_MAX}, but are ${parts.length}`)
  const seen = new Set<number>()
  for (const { partNumber, etag, url } of parts) {
    if (partNumber < 1 || partNumber > UPLOAD_PARTS_MAX) {
      throw invalidParameter(`part_number must be from 1 to ${UPLOAD_PARTS_MAX}, but is ${partNumber}`)
    }
    if (seen.has(partNumber)) throw invalidParameter(`Part ${partNumber} is named twice`)
    seen.add(partNumber)
    checkText('etag', etag, ETAG_BYTES_MAX, 0)
    checkText('url', url, PART_URL_BYTES_MAX, 0)
  }
}
