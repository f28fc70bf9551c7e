import { listen } from '@millrace/kit/listen'
import { BodyBudget } from '@millrace/rest/body-budget'
import { checkAccess } from './access.ts'
import type { GatewayConfig } from './config.ts'
import { rpcListener } from './connect/listener.ts'
import type { GatewayContext, GatewayDependencies } from './context.ts'
import { createDispatch, noteFailure } from './dispatch.ts'
import { rawRoutes } from './http/index.ts'
import { RequestMeter } from './http/request-meter.ts'
import { createSecurity } from './http/security.ts'
import { routeTable } from './route-table.ts'
import { publicServices } from './rpc/services.ts'

export { checkGateway, type GatewayConfig, readGateway } from './config.ts'
export type { GatewayDependencies } from './context.ts'

/** The public port. Disposing it lets requests in flight end. */
export interface Gateway extends AsyncDisposable {
  readonly url: string
  readonly port: number
}

/** Serves REST, Connect, gRPC and gRPC-Web on one port. @throws when the port can't be had, or a public method or route has no access rule. */
export async function startGateway(config: GatewayConfig, dependencies: GatewayDependencies): Promise<Gateway> {
  const meter = new RequestMeter()
  const budget = new BodyBudget()
  // The port's own metrics are added when it is open.
  const metrics = [...(dependencies.metrics ?? []), ...meter.metrics, budget.metric]
  const ctx: GatewayContext = { ...dependencies, config, metrics }
  const services = publicServices(ctx)
  checkAccess(services, rawRoutes)
  const security = createSecurity(config.security, config.staticPrefix)
  const router = routeTable(ctx, services, { raw: rawRoutes, headers: security.headers, budget })
  const rpc = rpcListener(config, services, {
    budget,
    failed: (path, reason, call) => noteFailure(ctx, { call, method: 'POST', path }, reason),
  })
  const handler = createDispatch(ctx, { router, security, rpc, meter })
  const { host, port, bodyTimeoutSeconds } = config
  const listener = await listen({ host, port, handler, limits: { bodyIdleMs: bodyTimeoutSeconds * 1_000 } })
  metrics.push(...listener.metrics)
  return { url: listener.url + config.staticPrefix, port: listener.port, [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose]() }
}
