import type { Socket } from 'node:net'

/** The first bytes of an HTTP/2 client (RFC 9113 section 3.4), as far as no HTTP/1 request begins with them. */
const PREFACE = Buffer.from('PRI * HTTP/2.0')
/** From the connection to the bytes that say what it speaks. */
const FIRST_BYTES_TIMEOUT_MS = 60_000

export type Protocol = 'http1' | 'http2'

/**
 * Reads the first bytes of a connection until they tell HTTP/1 from HTTP/2, and puts them back. A connection that ends or says too little
 * in time is closed, and `found` is not called.
 */
export function sniff(socket: Socket, found: (protocol: Protocol) => void): void {
  let head: Buffer = Buffer.alloc(0)
  const close = () => socket.destroy()
  const timer = setTimeout(close, FIRST_BYTES_TIMEOUT_MS)
  const read = () => {
    const bytes: Buffer | null = socket.read()
    if (!bytes) return
    head = head.length === 0 ? bytes : Buffer.concat([head, bytes])
    const known = Math.min(head.length, PREFACE.length)
    const isHttp2 = head.subarray(0, known).equals(PREFACE.subarray(0, known))
    // Bytes are put back only once it is decided: put back earlier they would be announced again, without end.
    if (isHttp2 && known < PREFACE.length) return
    forget()
    socket.unshift(head)
    found(isHttp2 ? 'http2' : 'http1')
  }
  const forget = () => {
    clearTimeout(timer)
    socket.off('readable', read)
    socket.off('end', close)
  }
  socket.once('close', () => clearTimeout(timer))
  socket.on('end', close)
  socket.on('readable', read)
}
