import type { ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** Aborts when the client of a response goes away before it has all of it. Of one that is gone already it is aborted from the start. */
export function clientGone(res: ServerResponse): AbortSignal {
  if (hasLeft(res)) return AbortSignal.abort()
  const gone = new AbortController()
  res.once('close', () => {
    if (!res.writableFinished) gone.abort()
  })
  return gone.signal
}

/** Whether nobody is there to be answered. */
export const hasLeft = (res: ServerResponse): boolean => res.closed || res.destroyed

/** Sends the body of a response. Whatever happens, the body is destroyed then and gives back what it holds. */
export async function sendBody(body: Readable, res: ServerResponse): Promise<void> {
  try {
    // A pipeline to a response that is closed already leaves its source as it is.
    await pipeline(body, res)
  } finally {
    body.destroy()
  }
}
