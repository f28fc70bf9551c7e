import { once } from 'node:events'
import { type ClientHttp2Stream, connect, constants, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'

interface Http2Answer {
  status: number
  headers: IncomingHttpHeaders
  trailers: IncomingHttpHeaders
  text: string
}

interface Http2Call {
  /** Rejects when the call is left. */
  readonly answer: Promise<Http2Answer>
  /** Resets the stream, as a client does that wants no answer any more. */
  leave(): void
}

export interface Http2Client extends Disposable {
  /** An object as body is sent as JSON. */
  send(method: string, path: string, body?: object | Buffer, headers?: OutgoingHttpHeaders): Http2Call
}

/** Calls over one connection of HTTP/2: the server gets them, and hears of those that are left, in this order. */
export function http2Client(url: string): Http2Client {
  const session = connect(url)
  session.on('error', () => undefined)
  return {
    send(method, path, body, headers = {}) {
      const type = Buffer.isBuffer(body) ? {} : { 'content-type': 'application/json' }
      const stream = session.request({ ':method': method, ':path': path, ...type, ...headers }, { endStream: body === undefined })
      const answer = answerOf(stream)
      answer.catch(() => undefined)
      if (body !== undefined) stream.end(Buffer.isBuffer(body) ? body : JSON.stringify(body))
      return { answer, leave: () => stream.close(constants.NGHTTP2_CANCEL) }
    },
    [Symbol.dispose]: () => session.destroy(),
  }
}

async function answerOf(stream: ClientHttp2Stream): Promise<Http2Answer> {
  let trailers: IncomingHttpHeaders = {}
  stream.on('trailers', found => {
    trailers = found
  })
  const left = once(stream, 'close').then(() => {
    throw new Error('the call was left')
  })
  left.catch(() => undefined)
  const [headers] = (await Promise.race([once(stream, 'response'), left])) as [IncomingHttpHeaders]
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return { status: Number(headers[':status']), headers, trailers, text: Buffer.concat(chunks).toString() }
}
