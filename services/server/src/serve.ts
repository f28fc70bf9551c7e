import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Interceptor } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { callKey } from '@millrace/kit/call-context'
import { isServerFault } from '@millrace/kit/errors'
import { type Listener, type ListenLimits, listen } from '@millrace/kit/listen'
import type { Logger } from '@millrace/kit/logger'
import { type Metric, type MetricsHandler, metricsHandler } from '@millrace/kit/metrics'
import { type Route, register } from '@millrace/kit/rpc'
import { reachedHandler, receiveCall, refusePlainly, translateFailures } from '@millrace/kit/rpc-server'
import type { AddressConfig } from './config.ts'
import type { Opened } from './opened.ts'

const MESSAGE_BYTES_MAX = 256 * 1024 * 1024
/** Joining the parts of a large upload takes as long as its store does. */
const CALL_TIMEOUT_MS_MAX = 25 * 3_600_000

/** Callers are other services: many calls share a connection, and a client who stands still is given up by the public port first. */
const LIMITS: Partial<ListenLimits> = { http2StreamsMax: 4_096, bodyIdleMs: 300_000 }

export interface Served {
  readonly address: AddressConfig
  readonly routes: readonly Route[]
  readonly ready: () => Promise<void>
  /** Handlers by path, beside RPC. */
  readonly raw?: Readonly<Record<string, RequestListener>>
  readonly metrics?: readonly Metric[]
  readonly log: Logger
}

/** A port for the other services: RPC, `/health`, `/ready` and `/metrics`. Nobody else should reach it: it asks for no credentials. */
export async function serve({ address, routes, ready, raw = {}, metrics = [], log }: Served): Promise<Opened> {
  const rpc = connectNodeAdapter({
    routes: router => {
      register(router, routes)
      refusePlainly(router)
    },
    interceptors: [reachedHandler, receiveCall, loggedCalls(log)],
    acceptCompression: [],
    readMaxBytes: MESSAGE_BYTES_MAX,
    writeMaxBytes: MESSAGE_BYTES_MAX,
    maxTimeoutMs: CALL_TIMEOUT_MS_MAX,
  })
  let listener: Listener | undefined
  let answerMetrics: MetricsHandler | undefined
  const handler: RequestListener = (request, response) => {
    const path = request.url?.split('?', 1)[0] ?? ''
    if (path === '/health') return answer(response, 200, 'OK')
    if (path === '/ready') return void answerReady(ready, response, log)
    if (path === '/metrics') {
      answerMetrics ??= metricsHandler([...metrics, ...(listener?.metrics ?? [])])
      return void answerMetrics(request, response).catch(() => response.destroy())
    }
    const own = raw[path]
    if (own) return void own(request, response)
    try {
      rpc(request, response)
    } catch {
      // The adapter makes a URL of the request's target and host.
      answer(response, 400, 'Bad Request')
    }
  }
  listener = await listen({ ...address, handler, limits: LIMITS })
  return listener
}

/** Every call at the level debug, and those that failed for a reason of this service's own. */
function loggedCalls(log: Logger): Interceptor {
  const failures = translateFailures((reason, { contextValues, method }) => {
    if (isServerFault(reason)) log.error('a call failed', { requestId: contextValues.get(callKey)?.requestId, method: method.name, reason })
    return reason
  })
  return next => {
    const logged = failures(next)
    return request => {
      if (log.isDebug) log.debug('a call', { requestId: request.contextValues.get(callKey)?.requestId, method: request.method.name })
      return logged(request)
    }
  }
}

function answer(response: ServerResponse<IncomingMessage>, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text)
}

async function answerReady(ready: () => Promise<void>, response: ServerResponse<IncomingMessage>, log: Logger): Promise<void> {
  try {
    await ready()
    answer(response, 200, 'OK')
  } catch (error) {
    log.warn('Not ready', { error })
    answer(response, 503, 'Not ready')
  }
}
