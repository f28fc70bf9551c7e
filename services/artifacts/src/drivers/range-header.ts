import type { ByteRange } from '@millrace/kit/bytes'

/** Source: RFC 9110 section 14.2. */
export function rangeHeader({ start, end }: ByteRange): string {
  return start < 0 ? `bytes=${start}` : `bytes=${start}-${end ?? ''}`
}
