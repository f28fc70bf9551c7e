import { type MetricsHandler, metricsHandler } from '@millrace/kit/metrics'
import type { GatewayContext } from '../context.ts'
import type { RawRoute } from './route.ts'

const handlers = new WeakMap<GatewayContext, MetricsHandler>()

/** Prometheus' text format, of this process. No label is a path, a user or anything else that a client chooses. */
export const metrics: RawRoute = {
  method: 'GET',
  pattern: '/metrics',
  access: { own: 'metrics' },
  handle(req, res, _params, ctx) {
    const handler = handlers.get(ctx) ?? metricsHandler(ctx.metrics ?? [])
    handlers.set(ctx, handler)
    return handler(req, res)
  },
}
