import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { finished, type Readable } from 'node:stream'
import { cancelled, MlflowError } from '@millrace/kit/errors'
import { SILENT_STORE } from './errors.ts'

const CONNECT_TIMEOUT_MS = 10_000
const CONNECTIONS_MAX = 256

/** A body that passes through, and can't be sent again. */
export interface StreamedBody {
  stream: Readable
  length: number
}

export interface HttpCall {
  method: string
  /** As it goes over the wire: nothing is normalised. */
  url: string
  headers: Record<string, string>
  body?: Buffer | StreamedBody
  signal?: AbortSignal
}

/** Kept connections to the hosts of one configuration. */
export class Connection implements Disposable {
  readonly #timeoutMs: number
  readonly #http: HttpAgent
  readonly #https: HttpsAgent
  readonly #ca: string | undefined

  constructor(timeoutMs: number, ca?: string) {
    const agent = { keepAlive: true, maxSockets: CONNECTIONS_MAX, noDelay: true }
    this.#timeoutMs = timeoutMs
    this.#ca = ca
    this.#http = new HttpAgent(agent)
    this.#https = new HttpsAgent({ ...agent, ca })
  }

  /**
   * The answer of whatever status as soon as its headers are there. Its consumer reads or destroys it.
   * A streamed body gets a connection of its own, since a kept one may turn out to be closed when bytes of the body are gone already.
   * @throws CANCELLED when the body fails; else Node's error, or SILENT_STORE.
   */
  send({ method, url, headers, body, signal }: HttpCall): Promise<IncomingMessage> {
    const [, protocol, hostname = '', port, path = '/'] = /^(https?:)\/\/(\[[^\]]*\]|[^:/?#]+)(?::(\d+))?(.*)$/.exec(url) ?? []
    const secure = protocol === 'https:'
    const streamed = body !== undefined && !Buffer.isBuffer(body) ? body : undefined
    const agent = streamed ? false : secure ? this.#https : this.#http
    const options: RequestOptions = {
      method,
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port,
      path: path.startsWith('/') ? path : `/${path}`,
      headers,
      agent,
      signal,
    }
    return new Promise((resolve, reject) => {
      const call = secure ? requestHttps({ ...options, ca: this.#ca }) : requestHttp(options)
      limitTime(call, this.#timeoutMs)
      // First of all, so that the body is let go of before anybody hears of the outcome.
      if (streamed) sendBody(streamed, call, reject)
      call.once('error', reject)
      call.once('response', resolve)
      if (!streamed) call.end(body)
    })
  }

  [Symbol.dispose](): void {
    this.#http.destroy()
    this.#https.destroy()
  }
}

function limitTime(call: ClientRequest, timeoutMs: number): void {
  const giveUp = () => call.destroy(Object.assign(new Error('the store did not answer in time'), { code: SILENT_STORE }))
  call.setTimeout(timeoutMs, giveUp)
  call.once('socket', socket => {
    if (!socket.connecting) return
    const timer = setTimeout(giveUp, Math.min(CONNECT_TIMEOUT_MS, timeoutMs))
    for (const event of ['connect', 'close']) socket.once(event, () => clearTimeout(timer))
  })
}

/**
 * Sends a body as fast as the store takes it, and fails when it isn't as long as announced, so that the store never takes less for the
 * whole. When the store ends the call, the body is left open for whoever it came from.
 */
function sendBody({ stream, length }: StreamedBody, call: ClientRequest, fail: (error: unknown) => void): void {
  let sent = 0
  let last: Buffer | undefined
  let isHeld = true
  const breakOff = (error: unknown) => {
    letGo()
    fail(error)
    call.destroy()
  }
  const checkLength = () => {
    if (sent === length) call.end(last)
    else breakOff(cancelled(`The upload has ${sent > length ? 'more' : 'fewer'} bytes than the ${length} that were announced`))
  }
  const take = (chunk: Buffer) => {
    sent += chunk.length
    if (sent > length) return checkLength()
    // The store takes the body for whole as soon as it has the last byte.
    if (sent === length) last ??= chunk
    else if (!call.write(chunk)) stream.pause()
  }
  const forget = finished(stream, { writable: false }, error => {
    if (error) breakOff(error instanceof MlflowError ? error : cancelled('The upload was cut off', { cause: error }))
    else checkLength()
  })
  const onDrain = () => stream.resume()
  const letGo = () => {
    if (!isHeld) return
    isHeld = false
    forget()
    call.off('drain', onDrain)
    stream.off('data', take).pause()
  }
  for (const event of ['response', 'error', 'close']) call.once(event, letGo)
  call.on('drain', onDrain)
  stream.on('data', take)
}

/** A small answer as text. */
export async function textOfAnswer(answer: Readable): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
