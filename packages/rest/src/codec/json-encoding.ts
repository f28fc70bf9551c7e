import { isUtf8 } from 'node:buffer'

const BYTE_ORDER_MARK = '\ufeff'

/**
 * The text of a JSON body, without a byte order mark: UTF-8, or UTF-16 or UTF-32 by the zeros among its first bytes (RFC 4627
 * section 3), as Python reads it. Undefined for other bytes.
 */
export function textOf(bytes: Buffer): string | undefined {
  const text = decoded(bytes)
  return text?.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text
}

/** Whether a text that begins so is UTF-16 or UTF-32. */
export function isWide([a, b]: Buffer): boolean {
  const isMarked = (a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff)
  return b !== undefined && (isMarked || a === 0 || b === 0)
}

function decoded(bytes: Buffer): string | undefined {
  if (isWide(bytes)) return wide(bytes)
  const text = bytes.toString('utf8')
  return text.includes('\ufffd') && !isUtf8(bytes) ? undefined : text
}

function wide(bytes: Buffer): string | undefined {
  const [a, b, c, d] = bytes
  const isBig = a === 0 || a === 0xfe
  const has32 = isBig ? a === 0 && b === 0 : c === 0 && d === 0
  if (has32) return utf32(bytes, isBig)
  if (bytes.length % 2 !== 0) return undefined
  return (isBig ? Buffer.from(bytes).swap16() : bytes).toString('utf16le')
}

function utf32(bytes: Buffer, isBig: boolean): string | undefined {
  if (bytes.length % 4 !== 0) return undefined
  let text = ''
  for (let at = 0; at < bytes.length; at += 4) {
    const point = isBig ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at)
    if (point > 0x10ffff) return undefined
    text += String.fromCodePoint(point)
  }
  return text
}
