import type { IncomingMessage, RequestListener } from 'node:http'
import { createContextValues, type Interceptor } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { toMlflowError } from '@millrace/kit/errors'
import { forward, type Route, register } from '@millrace/kit/rpc'
import { reachedHandler, refusePlainly } from '@millrace/kit/rpc-server'
import { isInternal } from '@millrace/rest/bindings'
import type { BodyBudget } from '@millrace/rest/body-budget'
import { httpRequest } from '@millrace/rest/http-request'
import type { GatewayConfig } from '../config.ts'
import { disabled } from '../mode.ts'
import type { PublicService } from '../rpc/services.ts'
import { examineMessage } from './message.ts'

/** The largest answer to a Connect, gRPC or gRPC-Web client; requests have the limits of REST. */
export const RPC_MESSAGE_BYTES_MAX = 64 * 1024 * 1024

export interface RpcOptions {
  readonly budget: BodyBudget
  /** Told of every call that failed. */
  readonly failed: (path: string, reason: unknown) => void
}

/** Serves Connect, gRPC and gRPC-Web. */
export function rpcListener(config: GatewayConfig, services: readonly PublicService[], { budget, failed }: RpcOptions): RequestListener {
  const served = services.filter(one => disabled(config, one.area, '') === undefined)
  const routes = served.map(one => withoutInternal(forward(one.service, one.transport)))
  return connectNodeAdapter({
    routes: router => {
      register(router, routes)
      refusePlainly(router, examineMessage(budget))
    },
    interceptors: [reachedHandler, ownErrors(failed)],
    contextValues: req => createContextValues().set(httpRequest, req as IncomingMessage),
    readMaxBytes: RPC_MESSAGE_BYTES_MAX,
    writeMaxBytes: RPC_MESSAGE_BYTES_MAX,
  }) as RequestListener
}

/** Hides what other errors than ours say. */
function ownErrors(failed: RpcOptions['failed']): Interceptor {
  return next => async request => {
    const translated = (reason: unknown) => {
      failed(new URL(request.url).pathname, reason)
      return toMlflowError(reason)
    }
    const response = await next(request).catch(reason => {
      throw translated(reason)
    })
    return response.stream ? { ...response, message: translateErrors(response.message, translated) } : response
  }
}

async function* translateErrors<T>(messages: AsyncIterable<T>, translated: (reason: unknown) => Error): AsyncIterable<T> {
  try {
    yield* messages
  } catch (reason) {
    throw translated(reason)
  }
}

function withoutInternal({ service, implementation }: Route): Route {
  const hidden = new Set(service.methods.filter(isInternal).map(method => method.localName))
  return { service, implementation: Object.fromEntries(Object.entries(implementation).filter(([name]) => !hidden.has(name))) }
}
