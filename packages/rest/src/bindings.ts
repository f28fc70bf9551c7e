import { type DescMethod, type DescService, getOption } from '@bufbuild/protobuf'
import { http } from '@millrace/proto/google/api/annotations_pb'
import type { HttpRule } from '@millrace/proto/google/api/http_pb'
import { ajax_only, internal } from '@millrace/proto/millrace/options/v1/rest_pb'
import type { Method } from './router.ts'

/** One way to call an RPC over REST, from its `google.api.http` option. */
export interface Binding {
  readonly method: Method
  /** Path pattern without the static prefix, below `/api` or `/ajax-api`. */
  readonly pattern: string
}

const METHODS: Readonly<Record<string, Method>> = { get: 'GET', put: 'PUT', post: 'POST', delete: 'DELETE', patch: 'PATCH' }

export const isInternal = (rpc: DescMethod) => getOption(rpc, internal) === true

/** Every binding of an RPC: its own, the additional ones, and for each the twin below `/ajax-api`. */
export function bindingsOf(rpc: DescMethod): Binding[] {
  const rule = getOption(rpc, http)
  const own = [rule, ...(rule?.additionalBindings ?? [])].flatMap(one => binding(one) ?? [])
  if (getOption(rpc, ajax_only)) return own
  return own.flatMap(one => [one, { ...one, pattern: ajaxTwin(one.pattern) }])
}

/** The methods of a service that answer once: those that REST can serve. */
export function unaryMethods(service: DescService) {
  return service.methods.filter(method => method.methodKind === 'unary')
}

export const ajaxTwin = (pattern: string) => pattern.replace(/^\/api\//, '/ajax-api/')

function binding(rule: HttpRule | undefined): Binding | undefined {
  const { case: name, value } = rule?.pattern ?? {}
  const method = name && METHODS[name]
  return method && typeof value === 'string' ? { method, pattern: value } : undefined
}
