import { type MetricsHandler, metricsHandler } from '@millrace/kit/metrics'
import type { GatewayContext } from '../context.ts'
import type { RawRoute } from './route.ts'

const handlers = new WeakMap<GatewayContext, MetricsHandler>()

/** Metrics of this process in Prometheus' text format. No label has a value that clients choose, such as a path or a user. */
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
