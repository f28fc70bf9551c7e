import type { DescService } from '@bufbuild/protobuf'
import type { ServiceImpl } from '@connectrpc/connect'
import { createDirectTransport, type Route } from '@millrace/kit/rpc'
import type { GatewayDependencies } from '../src/context.ts'
import { checkGateway, type Gateway, readGateway, startGateway } from '../src/service.ts'

/** A service of which a test needs a few methods. */
export function some<S extends DescService>(service: S, implementation: Partial<ServiceImpl<S>>): Route {
  return { service, implementation: implementation as Record<string, unknown> }
}

/** A gateway on a free port over handlers that stand in for the metadata service. */
export function startWith(
  routes: readonly Route[],
  flags: Record<string, string | boolean> = {},
  dependencies: Partial<GatewayDependencies> = {},
): Promise<Gateway> {
  const config = checkGateway(readGateway({}, { port: '0', ...flags }))
  return startGateway(config, { metadata: createDirectTransport(routes), ready: {}, ...dependencies })
}

export const JSON_TYPE = { 'Content-Type': 'application/json' }

export async function post(gateway: Gateway, path: string, body: string | Uint8Array, headers: Record<string, string> = JSON_TYPE) {
  const answer = await fetch(gateway.url + path, { method: 'POST', body: body as string, headers })
  return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() }
}

export async function get(gateway: Gateway, path: string, headers: Record<string, string> = {}) {
  const answer = await fetch(gateway.url + path, { headers, redirect: 'manual' })
  return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text(), headers: answer.headers }
}
