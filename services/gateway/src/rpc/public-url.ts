import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { invalidParameter } from '@millrace/kit/errors'
import type { GatewayConfig } from '../config.ts'

type Given = Pick<GatewayConfig, 'publicUrl'>

/** Headers of proxies that don't forward the address that the client used. */
const PROXY_HEADERS = ['via', 'forwarded', 'x-real-ip', 'x-forwarded-for', 'x-forwarded-port', 'x-forwarded-server']
/** MLflow's Python client sends `Connection: keep-alive` with every request, and no proxy forwards that header. */
const MLFLOW_CLIENT = /^mlflow-python-client\//
const DEFAULT_PORTS: Record<string, number> = { http: 80, https: 443 }

const HOST = /^([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i
const PREFIX = /^(\/[\w.~-]+)+$/
/** Limits of a DNS name with a port and of a path: both are repeated in the URLs of up to 10,000 parts of an upload. */
const HOST_CHARACTERS_MAX = 261
const PREFIX_CHARACTERS_MAX = 256

const isHost = (text: string) => text.length <= HOST_CHARACTERS_MAX && HOST.test(text)
const isPrefix = (text: string) => text.length <= PREFIX_CHARACTERS_MAX && PREFIX.test(text)
const isScheme = (text: string) => /^https?$/i.test(text)

/**
 * The URL at which clients reach this server, without a trailing slash: the configured one, else what the request's headers say. A forged
 * header affects only the response to the client that sent it.
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
 * A proxy that adds no header may have been reached at any address.
 */
export function isReachable({ publicUrl: configured }: Given, request: IncomingMessage | undefined): boolean {
  if (configured !== undefined || !request) return true
  const { headers, httpVersionMajor, httpVersionMinor } = request
  const { scheme, prefix, forwardedHost, forwardedScheme, ownHost = '' } = addressOf(request)
  if (forwardedHost !== undefined) return true
  const port = Number(/:(\d+)$/.exec(ownHost)?.[1] ?? DEFAULT_PORTS[scheme])
  const isOwnPort = port === request.socket.localPort
  // A proxy sends its own name for the server in Host, unless it is configured to keep the client's.
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
