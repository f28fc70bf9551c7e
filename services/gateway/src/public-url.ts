import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { createContextKey } from '@connectrpc/connect'
import { invalidParameter } from '@millrace/kit/errors'
import type { GatewayConfig } from './config.ts'

/** The HTTP request that a call came with. */
export const httpRequest = createContextKey<IncomingMessage | undefined>(undefined)

const HOST = /^([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i
const PREFIX = /^(\/[\w.~-]+)+$/

/**
 * Where clients reach this server, without a slash at the end: as configured, else where this request says that it was sent. That the
 * request may say anything harms only the one who sent it: the answer is his alone.
 * @throws INVALID_PARAMETER_VALUE for a request without a plain host name.
 */
export function publicUrl({ publicUrl: configured, staticPrefix }: GatewayConfig, request: IncomingMessage | undefined): string {
  if (configured !== undefined) return configured
  const headers = request?.headers ?? {}
  const forwarded = (name: string, allowed: RegExp) => {
    const given = String(headers[`x-forwarded-${name}`] ?? '')
      .split(',')[0]
      ?.trim()
    return given !== undefined && allowed.test(given) ? given : undefined
  }
  const isEncrypted = (request?.socket as Partial<TLSSocket> | undefined)?.encrypted === true
  const scheme = forwarded('proto', /^https?$/i)?.toLowerCase() ?? (isEncrypted ? 'https' : 'http')
  const host = forwarded('host', HOST) ?? headers.host ?? headers[':authority']
  if (typeof host !== 'string' || !HOST.test(host)) throw invalidParameter('The Host header names no host')
  return `${scheme}://${host}${forwarded('prefix', PREFIX) ?? ''}${staticPrefix}`
}
