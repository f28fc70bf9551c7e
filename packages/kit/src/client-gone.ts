import type { ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** Aborts when the client of a response goes away before it has all of it. Of one that is gone already it is aborted from the start. */
export function clientGone(res: ServerResponse): AbortSignal {
  if (hasLeft(res)) return AbortSignal.abort()
  const gone = new AbortController()
  res.once('close', () => {
    if (!isSent(res)) gone.abort()
  })
  return gone.signal
}

/** Present for HTTP/2, whose responses count as finished and never as closed when their stream was reset. */
const streamOf = (res: ServerResponse) => (res as unknown as { stream?: ServerHttp2Stream }).stream

function isSent(res: ServerResponse): boolean {
  const stream = streamOf(res)
  return stream ? res.writableEnded && stream.rstCode === 0 : res.writableFinished
}

/** Whether nobody is there to be answered. */
export const hasLeft = (res: ServerResponse): boolean => streamOf(res)?.closed ?? (res.closed || res.destroyed)

/** Sends the body of a response. Whatever happens, the body is destroyed then and gives back what it holds. */
export async function sendBody(body: Readable, res: ServerResponse): Promise<void> {
  try {
    // A pipeline to a response that is closed already leaves its source as it is.
    await pipeline(body, res)
  } finally {
    body.destroy()
  }
}
