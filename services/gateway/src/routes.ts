import type { Route } from '@millrace/kit/rpc'
import type { GatewayContext } from './context.ts'

/** Every service of the public port: handed on to the part that owns it, or answered here by joining parts. */
export function routes(_ctx: GatewayContext): Route[] {
  return []
}
