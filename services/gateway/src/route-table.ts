import type { IncomingMessage, ServerResponse } from 'node:http'
import type { DescMethodUnary } from '@bufbuild/protobuf'
import type { HttpCall } from '@millrace/kit/http-call'
import { writeAnswer } from '@millrace/rest/answer'
import { ajaxTwin, bindingsOf, isInternal, unaryMethods } from '@millrace/rest/bindings'
import type { BodyBudget } from '@millrace/rest/body-budget'
import { callEndpoint, createEndpoint } from '@millrace/rest/endpoint'
import { parseQuery } from '@millrace/rest/query'
import { type PathParams, Router } from '@millrace/rest/router'
import type { GatewayContext } from './context.ts'
import { writeHtml } from './http/respond.ts'
import type { RawRoute } from './http/route.ts'
import { disabled } from './mode.ts'
import type { PublicService } from './rpc/services.ts'

/** Serves one request. Anything it throws becomes an error body. @param query the text after `?`. */
export type Handler = (req: IncomingMessage, res: ServerResponse, path: PathParams, query: string, call: HttpCall) => void | Promise<void>

interface TableOptions {
  readonly raw: readonly RawRoute[]
  /** Headers of every response. For raw routes they are set beforehand. */
  readonly headers: readonly string[]
  readonly budget: BodyBudget
}

/** Handlers by path: RPCs by the http options of their descriptors, then raw routes. */
export function routeTable(
  ctx: GatewayContext,
  services: readonly PublicService[],
  { raw, headers, budget }: TableOptions,
): Router<Handler> {
  const router = new Router<Handler>()
  const prefix = ctx.config.staticPrefix
  for (const { service, transport, area } of services) {
    for (const rpc of unaryMethods(service)) {
      if (isInternal(rpc)) continue
      const endpoint = createEndpoint(rpc as DescMethodUnary, transport, budget)
      const serve: Handler = async (req, res, path, query, call) =>
        writeAnswer(res, await callEndpoint(endpoint, req, path, query, call.values), headers)
      for (const { method, pattern } of bindingsOf(rpc)) {
        const reason = disabled(ctx.config, area, prefix + pattern)
        router.add(method, prefix + pattern, reason === undefined ? serve : refuse(reason, headers))
      }
    }
  }
  for (const route of raw) {
    for (const pattern of patternsOf(route, prefix)) {
      const reason = disabled(ctx.config, route.area, pattern)
      router.add(route.method, pattern, reason === undefined ? rawHandler(route, ctx, headers) : refuse(reason, headers))
    }
  }
  return router
}

function patternsOf(route: RawRoute, prefix: string): Set<string> {
  const patterns = route.twin ? [route.pattern, ajaxTwin(route.pattern)] : [route.pattern]
  return new Set(patterns.flatMap(one => (route.unprefixed ? [prefix + one, one] : [prefix + one])))
}

function rawHandler(route: RawRoute, ctx: GatewayContext, headers: readonly string[]): Handler {
  return (req, res, path, query, call) => {
    setHeaders(res, headers)
    return route.handle(req, res, { path, query: parseQuery(query), call }, ctx)
  }
}

function refuse(reason: string, headers: readonly string[]): Handler {
  return (_req, res) => {
    setHeaders(res, headers)
    writeHtml(res, 503, reason)
  }
}

export function setHeaders(res: ServerResponse, headers: readonly string[]): void {
  for (let i = 0; i < headers.length; i += 2) res.setHeader(headers[i] ?? '', headers[i + 1] ?? '')
}
