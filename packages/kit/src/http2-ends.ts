import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'

/** Told to clients of HTTP/2 first: no more requests here, all that were sent will be answered (RFC 9113 section 6.8). */
const LAST_STREAM_ID = 2 ** 31 - 1
/** A client that closed its side, or is gone, may wait so long for answers: a session of Node's doesn't notice which it is. */
const HALF_CLOSED_MS_MAX = 10_000

export function sayLast(session: ServerHttp2Session): void {
  if (!session.destroyed) session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM_ID)
}

/**
 * Closes a session on which nothing moved for a while, or whose client closed its side: what was sent whole by then may still be answered.
 * Streams that wait have limits of their own.
 */
export function endWithClient(session: ServerHttp2Session, idleMs: number): void {
  const streams = new Set<ServerHttp2Stream>()
  session.on('stream', stream => {
    streams.add(stream)
    stream.once('close', () => streams.delete(stream))
  })
  session.setTimeout(idleMs, () => {
    if (streams.size === 0) session.close()
  })
  session.socket.once('end', () => {
    if (session.destroyed) return
    for (const stream of streams) if (!isSentWhole(stream)) stream.close(constants.NGHTTP2_CANCEL)
    if (streams.size === 0) return session.destroy()
    session.close()
    const cut = setTimeout(() => session.destroy(), HALF_CLOSED_MS_MAX)
    session.once('close', () => clearTimeout(cut))
  })
}

const isSentWhole = ({ state }: ServerHttp2Stream) => state.state !== constants.NGHTTP2_STREAM_STATE_OPEN
