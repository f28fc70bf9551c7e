import { Readable, Writable } from 'node:stream'
import { internalError } from '@millrace/kit/errors'
import { ftpError } from './errors.ts'
import type { Lease } from './pool.ts'

const BUFFER_BYTES = 256 * 1024

export interface Section {
  start: number
  length: number
  /** Whether the file ends where the section does. */
  toEnd: boolean
}

/**
 * A section of a file as the server sends it; takes the lease. FTP only says where to begin, so a section that ends before the file does
 * costs its connection. A body that ends has every byte: one that came up short fails.
 */
export async function openBody(lease: Lease, path: string, key: string, { start, length, toEnd }: Section): Promise<Readable> {
  const { client } = lease
  let left = length
  let isOpen = false
  let isSettled = false
  let resume: (() => void) | undefined
  const body = new Readable({
    highWaterMark: BUFFER_BYTES,
    read() {
      const waiting = resume
      resume = undefined
      waiting?.()
    },
    destroy(error, done) {
      if (!isSettled) client.close()
      lease.release()
      done(error)
    },
  })
  const sink = new Writable({
    highWaterMark: BUFFER_BYTES,
    write(chunk: Buffer, _encoding, done) {
      if (toEnd && chunk.length > left) return done(internalError(`Artifact '${key}' became longer while it was read`))
      const part = chunk.subarray(0, left)
      left -= part.length
      const goesOn = part.length === 0 || body.push(part)
      if (left === 0 && !toEnd && !isSettled) {
        isSettled = true
        body.push(null)
        client.close()
      }
      if (goesOn) done()
      else resume = done
    },
  })
  const transfer = client.downloadTo(sink, path, start)
  transfer.then(
    () => {
      if (isSettled) return
      isSettled = true
      lease.release()
      if (left === 0) body.push(null)
      else body.destroy(internalError(`Artifact '${key}' became shorter while it was read`))
    },
    error => {
      const isExpected = isSettled
      isSettled = true
      lease.release()
      // Before it is open, the caller gets the error instead of a body.
      if (!isExpected) body.destroy(isOpen ? ftpError(error, key) : undefined)
    },
  )
  // The server has opened the file when its bytes begin to flow: from here on it may be replaced.
  const opened = new Promise<void>(resolve => {
    sink.once('pipe', () => {
      isOpen = true
      resolve()
    })
  })
  await Promise.race([opened, transfer])
  return body
}
