import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { type CallContext, PRINCIPAL_HEADER, REQUEST_ID_HEADER } from '@millrace/kit/call-context'
import { hasLeft } from '@millrace/kit/client-gone'
import { badRequest, isServerFault, MlflowError, temporarilyUnavailable, toMlflowError } from '@millrace/kit/errors'
import { HttpCall } from '@millrace/kit/http-call'
import { percentDecode } from '@millrace/kit/python-urls'
import { BodyTooLarge } from '@millrace/rest/body'
import type { Match, Router } from '@millrace/rest/router'
import type { GatewayContext } from './context.ts'
import { METHOD_NOT_ALLOWED, NOT_FOUND, redirectPage } from './http/pages.ts'
import type { RequestMeter } from './http/request-meter.ts'
import { errorBody, writeError, writeHtml, writeJson } from './http/respond.ts'
import type { Security } from './http/security.ts'
import { type Handler, setHeaders } from './route-table.ts'

interface DispatchOptions {
  readonly router: Router<Handler>
  readonly security: Security
  /** Serves Connect, gRPC and gRPC-Web. */
  readonly rpc: RequestListener
  readonly meter: RequestMeter
}

/** Equal to nginx's lingering_time. */
const LINGER_MS_MAX = 30_000

/** Shown for every RPC and error, and to clients that sent it. */
const SHOWN_ID = 'X-Request-Id'
const RPC_PREFIX = '/millrace.'
const API = /\/(ajax-)?api\//
const SERVER_INFO = /\/(ajax-)?api\/3\.0\/mlflow\/server-info$/

/** Routes every request of the public port to its handler. */
export function createDispatch(ctx: GatewayContext, { router, security, rpc, meter }: DispatchOptions): RequestListener {
  const prefix = ctx.config.staticPrefix
  const unmetered = new Set(['/health', '/ready', '/version', '/metrics'].flatMap(probe => [probe, prefix + probe]))
  const isEmptied = (path: string) => ctx.config.security !== undefined && API.test(path)
  const serveRpc = (req: IncomingMessage, res: ServerResponse, call: HttpCall) => {
    // The RPC listener builds the call context from the headers.
    req.headers[REQUEST_ID_HEADER] = call.requestId
    delete req.headers[PRINCIPAL_HEADER]
    res.setHeader(SHOWN_ID, call.requestId)
    res.once('finish', () => lingerOn(req))
    try {
      rpc(req, res)
    } catch (reason) {
      // The adapter builds a URL from the request's target and host.
      fail(req, res, call, badRequest('The request target or host is malformed.', { cause: reason }))
    }
  }
  const fail = (req: IncomingMessage, res: ServerResponse, call: HttpCall, reason: unknown) => {
    const { method } = req
    const path = pathOf(req.url)
    if (hasLeft(res)) {
      return ctx.log?.debug('a client left before it was answered', { requestId: call.requestId, method, path, reason })
    }
    if (!res.headersSent) {
      setHeaders(res, security.headers)
      res.setHeader(SHOWN_ID, call.requestId)
    }
    if (reason instanceof BodyTooLarge) return refuseBody(req, res, reason)
    const error = toMlflowError(reason)
    noteFailure(ctx, { call, method, path }, reason)
    writeError(res, error)
    lingerOn(req)
  }
  const serve = (req: IncomingMessage, res: ServerResponse, call: HttpCall) => {
    const target = req.url ?? '/'
    const path = pathOf(target)
    if (ctx.log?.isDebug) ctx.log.debug('a request', { requestId: call.requestId, method: req.method, path })
    if (call.sentId !== undefined) res.setHeader(SHOWN_ID, call.sentId)
    if (!unmetered.has(path)) {
      meter.watch(req, res)
      if (meter.inProgress > ctx.config.requestsMax) throw tooManyRequests()
    }
    if (!security.admit(req, res, path)) return
    if (path.startsWith(RPC_PREFIX)) return serveRpc(req, res, call)
    if (prefix !== '' && path.startsWith(prefix + RPC_PREFIX)) {
      req.url = target.slice(prefix.length)
      return serveRpc(req, res, call)
    }
    const workspace = req.headers['x-mlflow-workspace']
    if (workspace !== undefined && String(workspace).trim() !== '' && !SERVER_INFO.test(path)) throw workspacesDisabled()
    const match = router.find(req.method ?? 'GET', path)
    if (match?.target === undefined) {
      setHeaders(res, security.headers)
      return match
        ? wrongMethod(req, res, match.allow, isEmptied(path))
        : unknownPath(req, res, path, { find: other => (other === path ? undefined : router.find(req.method ?? 'GET', other)), isEmptied })
    }
    const work = match.target(req, res, match.params, queryOf(target), call)
    if (work) work.catch(reason => fail(req, res, call, reason))
  }
  return (req, res) => {
    const call = new HttpCall(req, res)
    try {
      serve(req, res, call)
    } catch (reason) {
      fail(req, res, call, reason)
    }
  }
}

interface Failed {
  readonly call: CallContext | undefined
  readonly method: string | undefined
  readonly path: string
}

/** Logs errors that are the server's fault. */
export function noteFailure({ log }: GatewayContext, { call, method, path }: Failed, reason: unknown): void {
  if (isServerFault(reason)) log?.error('a request failed', { requestId: call?.requestId, method, path, reason })
}

interface Paths {
  find(path: string): Match<Handler> | undefined
  /** Whether OPTIONS gets a response without a body. */
  isEmptied(path: string): boolean
}

/** On API paths MLflow's security middleware turns the 200 of OPTIONS into 204. */
function wrongMethod(req: IncomingMessage, res: ServerResponse, allow: string, isEmptied: boolean): void {
  if (req.method !== 'OPTIONS') {
    writeHtml(res, 405, METHOD_NOT_ALLOWED, { Allow: allow })
  } else if (isEmptied) {
    res.writeHead(204, { Allow: allow, 'Content-Type': 'text/html; charset=utf-8' }).end()
  } else {
    writeHtml(res, 200, '', { Allow: allow })
  }
}

/** Not found, or a redirect when the path exists with other slashes. */
function unknownPath(req: IncomingMessage, res: ServerResponse, path: string, { find, isEmptied }: Paths): void {
  const other = [path.replace(/\/{2,}/g, '/'), `${path}/`].find(one => !one.endsWith('//') && find(one))
  const match = other === undefined ? undefined : find(other)
  if (other === undefined || !match) {
    writeHtml(res, 404, NOT_FOUND)
    return
  }
  if (match.target === undefined) {
    wrongMethod(req, res, match.allow, isEmptied(other))
    return
  }
  const query = queryOf(req.url ?? '')
  const location = `http://${req.headers.host ?? req.headers[':authority']}${encodeURI(other)}${query && `?${query}`}`
  writeHtml(res, 308, redirectPage(location), { Location: location })
}

/**
 * Reads and discards what a client is still sending, so that it receives the error: closing at once would reset the connection. Without
 * reading, neither the next request nor a disconnect would be noticed.
 */
function lingerOn(req: IncomingMessage): void {
  if (req.complete || req.httpVersionMajor !== 1) return
  const cut = setTimeout(() => req.socket.destroy(), LINGER_MS_MAX)
  req.once('close', () => clearTimeout(cut))
  req.resume()
}

/** Closes the connection after the response, its sending side first. */
function refuseBody(req: IncomingMessage, res: ServerResponse, reason: BodyTooLarge): void {
  if (req.httpVersionMajor === 1) {
    res.setHeader('Connection', 'close')
    const { socket } = req
    socket.destroySoon = () => socket.end()
  }
  writeJson(res, errorBody(reason.answer), 413)
  lingerOn(req)
}

const tooManyRequests = () => temporarilyUnavailable('The server is busy with other requests', { retryAfterSeconds: 1 })

const workspacesDisabled = () =>
  new MlflowError('FEATURE_DISABLED', 'Workspace APIs are not available: workspaces are not enabled on this server')

/** The decoded path of a request target, with one slash at its beginning. */
function pathOf(target = '/'): string {
  const end = target.indexOf('?')
  let path = end < 0 ? target : target.slice(0, end)
  if (path.includes('%')) path = percentDecode(path)
  if (!path.startsWith('/')) path = path.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, '')
  return path.startsWith('//') || path === '' ? path.replace(/^\/*/, '/') : path
}

function queryOf(target: string): string {
  const start = target.indexOf('?')
  return start < 0 ? '' : target.slice(start + 1)
}
