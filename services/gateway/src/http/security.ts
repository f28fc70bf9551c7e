import type { IncomingMessage, ServerResponse } from 'node:http'
import { isIPv4, isIPv6 } from 'node:net'
import type { SecurityConfig } from '../config.ts'
import { writeRefusal, writeText } from './respond.ts'

/** MLflow's security middleware: allowed hosts and origins, and headers of every response. */
export interface Security {
  /** Headers of every response, as a flat list of names and values. */
  readonly headers: readonly string[]
  /** False when it has responded itself: to a wrong host, a preflight request or a change from a foreign origin. */
  admit(req: IncomingMessage, res: ServerResponse, path: string): boolean
}

const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0)(:\d{0,5})?$/
const PRIVATE_IPV4 = /^(10|192\.168|172\.(1[6-9]|2\d|3[01]))\./
const PRIVATE_IPV6 = /^f[cd]00:[\da-f:.]*$/i
const LOOPBACK_ORIGIN = /^http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?$/
const LOOPBACK_NAMES = new Set(['localhost', '127.0.0.1', '[::1]'])
const CHANGES = new Set(['POST', 'PUT', 'DELETE', 'PATCH'])
/** Length of a host or origin with its port; DNS names have up to 253. Matching a pattern with several stars takes polynomial time. */
const MATCHED_CHARACTERS_MAX = 300
const PREFLIGHT_MAX_AGE_SECONDS = '600'
const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']

export function createSecurity(config: SecurityConfig | undefined, staticPrefix: string): Security {
  if (!config) return { headers: [], admit: () => true }
  const hostAllowed = allowHosts(config.allowedHosts)
  const cors = createCors(config.corsAllowedOrigins)
  const withoutHostCheck = new Set([`${staticPrefix}/health`, `${staticPrefix}/version`, `${staticPrefix}/ready`])
  const api = ['/api/', '/ajax-api/'].map(one => staticPrefix + one)
  const isApi = (path: string) =>
    api.some(one => path.startsWith(one)) || path.includes('/millrace.') || /^\/(ajax-)?api\/2\.0\/mlflow-artifacts\/artifacts/.test(path)
  const frame = config.xFrameOptions === 'NONE' ? [] : ['X-Frame-Options', config.xFrameOptions]
  return {
    headers: ['X-Content-Type-Options', 'nosniff', ...frame, 'Vary', 'Origin'],
    admit(req, res, path) {
      const host = req.headers.host ?? req.headers[':authority']
      if (!hostAllowed(host as string | undefined) && !withoutHostCheck.has(path)) {
        writeRefusal(res, 'Invalid Host header - possible DNS rebinding attack detected')
        return false
      }
      const { origin } = req.headers
      if (origin === undefined) return true
      return cors(req, res, origin, isApi(path))
    },
  }
}

type Cors = (req: IncomingMessage, res: ServerResponse, origin: string, isApi: boolean) => boolean

function createCors(allowed: readonly string[]): Cors {
  const any = allowed.includes('*')
  const listed = anyOf(allowed)
  const exact = new Set(allowed)
  const mayRead = (origin: string) => any || exact.has(origin) || LOOPBACK_ORIGIN.test(origin)
  const mayChange = (origin: string) => any || origin === '' || isLoopback(origin) || listed(origin)
  return (req, res, origin, isApi) => {
    if (mayRead(origin)) res.setHeader('Access-Control-Allow-Origin', any ? '*' : origin)
    if (!any) res.setHeader('Access-Control-Allow-Credentials', 'true')
    const method = req.headers['access-control-request-method']
    if (req.method === 'OPTIONS' && method !== undefined) {
      preflight(req, res, [...(mayRead(origin) ? [] : ['origin']), ...(METHODS.includes(method) ? [] : ['method'])])
      return false
    }
    res.setHeader('Access-Control-Expose-Headers', '*')
    res.setHeader('Vary', 'Origin')
    if (isApi && CHANGES.has(req.method ?? '') && !mayChange(origin)) {
      writeRefusal(res, 'Cross-origin request blocked')
      return false
    }
    return true
  }
}

function preflight(req: IncomingMessage, res: ServerResponse, disallowed: readonly string[]): void {
  res.setHeader('Vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers')
  res.setHeader('Access-Control-Allow-Methods', METHODS.join(', '))
  res.setHeader('Access-Control-Max-Age', PREFLIGHT_MAX_AGE_SECONDS)
  const asked = req.headers['access-control-request-headers']
  if (asked !== undefined) res.setHeader('Access-Control-Allow-Headers', asked)
  if (disallowed.length === 0) writeText(res, 200, 'OK')
  else writeText(res, 400, `Disallowed CORS ${disallowed.join(', ')}`)
}

function isLoopback(origin: string): boolean {
  const url = URL.parse(origin)
  return url !== null && LOOPBACK_NAMES.has(url.hostname)
}

/** Caches the last allowed host: a client sends the same one every time. */
function allowHosts(configured: readonly string[] | undefined): (host: string | undefined) => boolean {
  const all = configured?.includes('*') ?? false
  const matches = configured ? anyOf(configured) : isNearby
  let last: string | undefined
  return host => {
    if (all || (host !== undefined && host === last)) return true
    if (!host || !matches(host)) return false
    last = host
    return true
  }
}

/**
 * MLflow's default: loopback names and private addresses, with any port. A name that starts like an address, as 10.evil.com, isn't
 * private: its owner can point it at this server.
 */
function isNearby(host: string): boolean {
  if (LOOPBACK_HOST.test(host)) return true
  const [, bracketed, plain = host] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{0,5})?$/.exec(host) ?? []
  const address = bracketed ?? plain
  return (isIPv4(address) && bracketed === undefined && PRIVATE_IPV4.test(address)) || (isIPv6(address) && PRIVATE_IPV6.test(address))
}

/** Whether a text equals one of `patterns` or, for those with `*`, matches it as in Python's fnmatch. */
function anyOf(patterns: readonly string[]): (text: string) => boolean {
  const exact = new Set(patterns.filter(one => !one.includes('*')))
  const expressions = patterns.filter(one => one.includes('*')).map(fnmatch)
  return text => exact.has(text) || (text.length <= MATCHED_CHARACTERS_MAX && expressions.some(one => one.test(text)))
}

function fnmatch(pattern: string): RegExp {
  const source = pattern.replace(/\[!?\]?[^\]]*\]|[.*+?^$()|[\]\\{}]/g, text => {
    if (text === '*') return '.*'
    if (text === '?') return '.'
    if (text.length === 1) return `\\${text}`
    const inside = text.slice(1, -1).replace(/[\\[\]]/g, '\\$&')
    return `[${inside.startsWith('!') ? `^${inside.slice(1)}` : inside}]`
  })
  return new RegExp(`^${source}$`, 's')
}
