import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'

const CHUNK_BYTES = 64 * 1024

/** `length` bytes that differ from chunk to chunk, made as they are read. */
export function generated(length: number): Readable {
  return Readable.from(chunks(length), { objectMode: false })
}

function* chunks(length: number): Generator<Buffer> {
  for (let at = 0; at < length; at += CHUNK_BYTES) {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, length - at), at / CHUNK_BYTES)
    if (chunk.length >= 4) chunk.writeUInt32LE(at / CHUNK_BYTES)
    yield chunk
  }
}

/** A body that fails with a reset connection after `length` bytes. */
export function cutOff(length: number): Readable {
  return Readable.from(
    (async function* () {
      yield* chunks(length)
      await new Promise(resolve => setTimeout(resolve, 20))
      throw Object.assign(new Error('aborted'), { code: 'ECONNRESET' })
    })(),
    { objectMode: false },
  )
}

/** A body of `length` bytes and one more, which waits for `open`. */
export function paused(length: number, open: Promise<void>): Readable {
  return Readable.from(
    (async function* () {
      yield* chunks(length)
      await open
      yield Buffer.from('.')
    })(),
    { objectMode: false },
  )
}

export const bodyOf = (content: string | Buffer): Readable => Readable.from([Buffer.from(content)], { objectMode: false })

export async function digest(body: Readable): Promise<{ length: number; sha256: string }> {
  const hash = createHash('sha256')
  let length = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    hash.update(chunk)
    length += chunk.length
  }
  return { length, sha256: hash.digest('hex') }
}

export async function text(body: Readable): Promise<string> {
  const parts: Buffer[] = []
  for await (const chunk of body as AsyncIterable<Buffer>) parts.push(chunk)
  return Buffer.concat(parts).toString()
}
