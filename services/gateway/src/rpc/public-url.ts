import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { invalidParameter } from '@millrace/kit/errors'
import type { GatewayConfig } from '../config.ts'

type Given = Pick<GatewayConfig, 'publicUrl'>

/** Signs that a request came through a proxy which doesn't say by what address. */
const PROXY_HEADERS = ['via', 'forwarded', 'x-real-ip', 'x-forwarded-for', 'x-forwarded-port', 'x-forwarded-server']
/** Of MLflow's own client, whose library asks for `Connection: keep-alive` in every request; no proxy passes that header on. */
const MLFLOW_CLIENT = /^mlflow-python-client\//
const DEFAULT_PORTS: Record<string, number> = { http: 80, https: 443 }

const HOST = /^([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i
const PREFIX = /^(\/[\w.~-]+)+$/
/** A name of DNS with a port, and a path: ten thousand parts of one upload have a URL each, with both in it. */
const HOST_CHARACTERS_MAX = 261
const PREFIX_CHARACTERS_MAX = 256

const isHost = (text: string) => text.length <= HOST_CHARACTERS_MAX && HOST.test(text)
const isPrefix = (text: string) => text.length <= PREFIX_CHARACTERS_MAX && PREFIX.test(text)
const isScheme = (text: string) => /^https?$/i.test(text)

/**
 * Where clients reach this server, without a slash at the end: as configured, else where this request says that it was sent. That the
 * request may say anything harms only the one who sent it: the answer is his alone.
 * @throws INVALID_PARAMETER_VALUE for a request without a plain host name.
 */
export function publicUrl({ publicUrl: configured, staticPrefix }: GatewayConfig, request: IncomingMessage | undefined): string {
  if (configured !== undefined) return configured
  const { scheme, prefix, forwardedHost, ownHost } = addressOf(request)
  const host = forwardedHost ?? ownHost
  if (host === undefined || !isHost(host)) throw invalidParameter('The Host header names no host')
  return `${scheme}://${host}${prefix ?? ''}${staticPrefix}`
}

/**
 * Whether `publicUrl` is where the client of this request reaches the server, as far as can be told: docs/decisions/parts-behind-proxies.md.
 * A proxy that says nothing of itself may have been reached by any address.
 */
export function isReachable({ publicUrl: configured }: Given, request: IncomingMessage | undefined): boolean {
  if (configured !== undefined || !request) return true
  const { headers, httpVersionMajor, httpVersionMinor } = request
  const { scheme, prefix, forwardedHost, forwardedScheme, ownHost = '' } = addressOf(request)
  if (forwardedHost !== undefined) return true
  const port = Number(/:(\d+)$/.exec(ownHost)?.[1] ?? DEFAULT_PORTS[scheme])
  const isOwnPort = port === request.socket.localPort
  // A proxy names the server as it knows it, unless it was told to keep the client's Host.
  if (forwardedScheme !== undefined || prefix !== undefined) return !isOwnPort && /[.:]/.test(ownHost)
  if (httpVersionMajor === 1 && httpVersionMinor === 0) return false
  if (PROXY_HEADERS.some(name => headers[name] !== undefined)) return false
  if (/\bkeep-alive\b/i.test(headers.connection ?? '')) return true
  return isOwnPort && !MLFLOW_CLIENT.test(headers['user-agent'] ?? '')
}

function addressOf(request: IncomingMessage | undefined) {
  const headers = request?.headers ?? {}
  const forwarded = (name: string, isAllowed: (text: string) => boolean) => {
    const given = String(headers[`x-forwarded-${name}`] ?? '')
      .split(',')[0]
      ?.trim()
    return given !== undefined && isAllowed(given) ? given : undefined
  }
  const isEncrypted = (request?.socket as Partial<TLSSocket> | undefined)?.encrypted === true
  const forwardedScheme = forwarded('proto', isScheme)?.toLowerCase()
  const ownHost = headers.host ?? headers[':authority']
  return {
    forwardedScheme,
    scheme: forwardedScheme ?? (isEncrypted ? 'https' : 'http'),
    forwardedHost: forwarded('host', isHost),
    ownHost: typeof ownHost === 'string' ? ownHost : undefined,
    prefix: forwarded('prefix', isPrefix),
  }
}
