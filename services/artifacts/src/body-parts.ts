import type { Readable } from 'node:stream'
import { cancelled, MlflowError } from '@millrace/kit/errors'

export interface BodyPart {
  bytes: Buffer
  last: boolean
}

/** Cuts a body into parts; nothing for an empty one. The body stays open when the caller stops early. */
export async function* partsOf(body: Readable, sizeBytes: (number: number) => number): AsyncGenerator<BodyPart, undefined> {
  let held: Buffer[] = []
  let heldBytes = 0
  let number = 1
  for await (const chunk of failingAsCancelled(body)) {
    let rest = chunk
    // A full part waits for one more byte, which tells whether it is the last.
    while (heldBytes + rest.length > sizeBytes(number)) {
      const room = sizeBytes(number) - heldBytes
      held.push(rest.subarray(0, room))
      const bytes = Buffer.concat(held)
      held = []
      heldBytes = 0
      number++
      rest = rest.subarray(room)
      yield { bytes, last: false }
    }
    held.push(rest)
    heldBytes += rest.length
  }
  if (heldBytes > 0) yield { bytes: Buffer.concat(held), last: true }
  return undefined
}

/** A body's chunks. The client's broken connection looks like the store's, so it is told apart where it happens: CANCELLED. */
export async function* failingAsCancelled(body: Readable): AsyncGenerator<Buffer> {
  try {
    yield* body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
  } catch (error) {
    throw error instanceof MlflowError ? error : cancelled('The upload was cut off', { cause: error })
  }
}
