import type { IncomingMessage, RequestListener } from 'node:http'
import { createContextValues } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { listen } from '@millrace/kit/listen'
import { forward, type Route, register } from '@millrace/kit/rpc'
import type { GatewayConfig } from './config.ts'
import type { GatewayContext, GatewayDependencies } from './context.ts'
import { createFront } from './front.ts'
import { disabled } from './mode.ts'
import { httpRequest } from './public-url.ts'
import { rawRoutes } from './raw/index.ts'
import { RequestMeter } from './request-meter.ts'
import { isInternal } from './rest/bindings.ts'
import { routeTable } from './rest/table.ts'
import { type PublicService, publicServices } from './routes.ts'
import { createSecurity } from './security.ts'

export { checkGateway, type GatewayConfig, readGateway } from './config.ts'
export type { GatewayDependencies } from './context.ts'

/** The public port. Disposing it lets requests in flight end. */
export interface Gateway extends AsyncDisposable {
  readonly url: string
  readonly port: number
}

/** The largest message of a Connect, gRPC or gRPC-Web client. */
export const RPC_MESSAGE_BYTES_MAX = 64 * 1024 * 1024

/** Serves REST, Connect, gRPC and gRPC-Web on one port. @throws when the port can't be had. */
export async function startGateway(config: GatewayConfig, dependencies: GatewayDependencies): Promise<Gateway> {
  const meter = new RequestMeter()
  const ctx: GatewayContext = { ...dependencies, config, metrics: [...(dependencies.metrics ?? []), ...meter.metrics] }
  const services = publicServices(ctx)
  const security = createSecurity(config.security, config.staticPrefix)
  const router = routeTable(ctx, services, rawRoutes, security.headers)
  const handler = createFront(ctx, { router, security, rpc: rpcListener(config, services), meter })
  const listener = await listen({ host: config.host, port: config.port, handler })
  return { url: listener.url + config.staticPrefix, port: listener.port, [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose]() }
}

function rpcListener(config: GatewayConfig, services: readonly PublicService[]): RequestListener {
  const served = services.filter(one => disabled(config, one.area, '') === undefined)
  const routes = served.map(one => withoutInternal(forward(one.service, one.transport)))
  return connectNodeAdapter({
    routes: router => register(router, routes),
    contextValues: req => createContextValues().set(httpRequest, req as IncomingMessage),
    readMaxBytes: RPC_MESSAGE_BYTES_MAX,
    writeMaxBytes: RPC_MESSAGE_BYTES_MAX,
  }) as RequestListener
}

function withoutInternal({ service, implementation }: Route): Route {
  const hidden = new Set(service.methods.filter(isInternal).map(method => method.localName))
  return { service, implementation: Object.fromEntries(Object.entries(implementation).filter(([name]) => !hidden.has(name))) }
}
