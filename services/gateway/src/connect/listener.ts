import type { IncomingMessage, RequestListener } from 'node:http'
import { createContextValues } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { type CallContext, callKey } from '@millrace/kit/call-context'
import { toMlflowError } from '@millrace/kit/errors'
import { forward, type Route, register } from '@millrace/kit/rpc'
import { endAtDeadline, reachedHandler, receiveCall, refusePlainly, translateFailures } from '@millrace/kit/rpc-server'
import { isInternal } from '@millrace/rest/bindings'
import type { BodyBudget } from '@millrace/rest/body-budget'
import { httpRequest } from '@millrace/rest/http-request'
import type { GatewayConfig } from '../config.ts'
import { disabled } from '../mode.ts'
import type { PublicService } from '../rpc/services.ts'
import { examineMessage } from './message.ts'

/** Size of a response message. Requests have the limits of REST. */
const RPC_MESSAGE_BYTES_MAX = 64 * 1024 * 1024

interface RpcOptions {
  readonly budget: BodyBudget
  /** Called for every failed call. */
  readonly failed: (path: string, reason: unknown, call: CallContext | undefined) => void
}

/** Serves Connect, gRPC and gRPC-Web. */
export function rpcListener(config: GatewayConfig, services: readonly PublicService[], { budget, failed }: RpcOptions): RequestListener {
  const served = services.filter(one => disabled(config, one.area, '') === undefined)
  const routes = served.map(one => withoutInternal(forward(one.service, one.transport)))
  // Hides the text of errors that aren't Millrace's own.
  const ownErrors = translateFailures((reason, { url, contextValues }) => {
    failed(new URL(url).pathname, reason, contextValues.get(callKey))
    return toMlflowError(reason)
  })
  return connectNodeAdapter({
    routes: router => {
      register(router, routes)
      refusePlainly(router, examineMessage(budget))
    },
    interceptors: [reachedHandler, receiveCall, ownErrors, endAtDeadline],
    contextValues: req => createContextValues().set(httpRequest, req as IncomingMessage),
    readMaxBytes: RPC_MESSAGE_BYTES_MAX,
    writeMaxBytes: RPC_MESSAGE_BYTES_MAX,
  }) as RequestListener
}

function withoutInternal({ service, implementation }: Route): Route {
  const hidden = new Set(service.methods.filter(isInternal).map(method => method.localName))
  return { service, implementation: Object.fromEntries(Object.entries(implementation).filter(([name]) => !hidden.has(name))) }
}
