import { type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { HttpAgents, type HttpSettings } from './http-agents.ts'
import { type StreamedBody, sendStreamed } from './streamed-body.ts'
import { isLost } from './system-errors.ts'
import { oversized, refusedByProxy, silentStore } from './transport-errors.ts'

/** Of calls over kept connections that turn out to be closed. */
const ATTEMPTS_MAX = 3

export interface HttpCall {
  method: string
  /** As it goes over the wire: nothing is normalised. */
  url: string
  /** Content-Length is added where the body has one. With `Expect: 100-continue` a streamed body waits for the store's word. */
  headers?: OutgoingHttpHeaders
  /** A stream goes over a connection of its own: a kept one may turn out to be closed when bytes of the body are gone already. */
  body?: Buffer | StreamedBody
  /** Until the headers of the response, also when something moves all that time. Not for streamed bodies. */
  withinMs?: number
  signal?: AbortSignal
}

/** Calls of the stores of one configuration, over kept connections and through its proxies. Redirects are not followed. */
export class HttpCaller implements Disposable {
  /** Longest silence of a store. */
  readonly timeoutMs: number
  /** The kept connections, for libraries that call by themselves. */
  readonly agents: HttpAgents
  readonly #single: HttpAgents

  constructor(settings: HttpSettings) {
    this.timeoutMs = settings.timeoutMs
    this.agents = new HttpAgents(settings)
    this.#single = new HttpAgents(settings, false)
  }

  /**
   * The response of whatever status as soon as its headers are there; its consumer reads or destroys it. A store that closed a kept
   * connection is called again.
   * @throws what `transportError` knows.
   */
  async send(call: HttpCall): Promise<IncomingMessage> {
    const { body } = call
    if (isStreamed(body)) return notFromProxy(await sendStreamed(this.#begin(call, body.length, this.#single), body, this.timeoutMs))
    for (let attempt = 1; ; attempt++) {
      const request = this.#begin(call, body?.length, this.agents)
      try {
        return notFromProxy(await responseTo(request, body, call.withinMs))
      } catch (error) {
        if (attempt === ATTEMPTS_MAX || call.signal?.aborted || !request.reusedSocket || !isLost(error)) throw error
      }
    }
  }

  [Symbol.dispose](): void {
    this.agents[Symbol.dispose]()
    this.#single[Symbol.dispose]()
  }

  #begin({ method, url, headers, body, signal }: HttpCall, length: number | undefined, agents: HttpAgents): ClientRequest {
    const [, protocol, hostname = '', port, path = '/'] = /^(https?:)\/\/(\[[^\]]*\]|[^:/?#]+)(?::(\d+))?(.*)$/s.exec(url) ?? []
    const isTls = protocol === 'https:'
    const options = {
      method,
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port,
      path: path.startsWith('/') ? path : `/${path}`,
      headers: length === undefined ? headers : { 'Content-Length': length, ...headers },
      agent: isTls ? agents.https : agents.http,
      signal,
      // A streamed body has a watch of its own.
      timeout: isStreamed(body) ? undefined : this.timeoutMs,
    }
    const request = isTls ? requestHttps(options) : requestHttp(options)
    if (signal) failWhenAborted(request, signal)
    return request
  }
}

const isStreamed = (body: HttpCall['body']): body is StreamedBody => body !== undefined && 'stream' in body

async function responseTo(request: ClientRequest, body: Buffer | undefined, withinMs?: number): Promise<IncomingMessage> {
  const giveUp = () => request.destroy(silentStore())
  const limit = withinMs === undefined ? undefined : setTimeout(giveUp, withinMs)
  try {
    return await new Promise((resolve, reject) => {
      request.once('timeout', giveUp)
      request.on('error', reject)
      request.once('response', resolve)
      request.end(body)
    })
  } finally {
    clearTimeout(limit)
  }
}

/** Node fails a call that waits for a connection only once that is there. */
function failWhenAborted(request: ClientRequest, signal: AbortSignal): void {
  const fail = () => {
    if (!request.socket) request.emit('error', Object.assign(new Error('aborted', { cause: signal.reason }), { code: 'ABORT_ERR' }))
  }
  signal.addEventListener('abort', fail, { once: true })
  request.once('close', () => signal.removeEventListener('abort', fail))
}

/** Only a proxy answers so; that of a tunnel is an error to begin with. */
function notFromProxy(response: IncomingMessage): IncomingMessage {
  if (response.statusCode !== 407) return response
  discard(response)
  throw refusedByProxy()
}

/** Lets go of a response whose body nobody needs, and of its connection. */
export function discard(response: IncomingMessage): void {
  response.once('error', () => undefined)
  response.destroy()
}

/** A response whose reader watches over the store's silence by himself: that of a slow reader is none. */
export function withoutTimeout(response: IncomingMessage): IncomingMessage {
  response.socket.setTimeout(0)
  return response
}

/** A whole response as text. @throws when it is longer than `bytesMax`, or takes longer than `withinMs` although something moves. */
export async function textOf(response: IncomingMessage, bytesMax: number, withinMs?: number): Promise<string> {
  const limit = withinMs === undefined ? undefined : setTimeout(() => response.destroy(silentStore()), withinMs)
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > bytesMax) throw oversized()
      chunks.push(chunk)
    }
  } finally {
    clearTimeout(limit)
  }
  return Buffer.concat(chunks).toString()
}
