import { checkBoolean, checkInteger, checkList, checkOneOf, type Env, type Flags, type Raw, read, refused } from '@millrace/kit/config'

export interface GatewayConfig {
  host: string
  /** 0 picks a free port. */
  port: number
  /** Path before every route, "" or "/one/or/more". */
  staticPrefix: string
  /** The tracking URI of clients, without a trailing slash. Absent: taken from each request's headers. */
  publicUrl: string | undefined
  /** False offers multipart upload only where clients send parts directly to the store. */
  receiveParts: boolean
  /** How long the body of a request or response may make no progress. */
  bodyTimeoutSeconds: number
  /** Requests in progress at once, without probes. Further ones are refused with 503. */
  requestsMax: number
  /** False refuses the mlflow-artifacts endpoints, like `mlflow server --no-serve-artifacts`. */
  serveArtifacts: boolean
  /** True serves only artifacts, like `mlflow server --artifacts-only`. */
  artifactsOnly: boolean
  /** Absent: no host check, no CORS rules and no security headers. */
  security: SecurityConfig | undefined
}

export interface SecurityConfig {
  /** Host headers to accept, with `*` as in fnmatch; absent: MLflow's default of loopback and private addresses. */
  allowedHosts: readonly string[] | undefined
  /** Origins besides loopback that may change state; `*` is all. */
  corsAllowedOrigins: readonly string[]
  /** Value of the X-Frame-Options header; NONE leaves it out. */
  xFrameOptions: 'SAMEORIGIN' | 'DENY' | 'NONE'
}

const PORT_MAX = 65_535
const DEFAULT_PORT = 5000
const BODY_TIMEOUT_SECONDS = 120
const BODY_TIMEOUT_SECONDS_MAX = 86_400

/** Each takes about 25 KB of this process. */
const REQUESTS_MAX = 2_048
const REQUESTS_MAX_MAX = 1_000_000

type GatewayRaw = ReturnType<typeof readGateway>

export function readGateway(env: Env, flags: Flags) {
  return {
    host: read(env, flags, 'host', 'MLFLOW_HOST'),
    port: read(env, flags, 'port', 'MLFLOW_PORT'),
    staticPrefix: read(env, flags, 'staticPrefix', 'MLFLOW_STATIC_PREFIX'),
    publicUrl: read(env, {}, undefined, 'MILLRACE_PUBLIC_URL'),
    receiveParts: read(env, {}, undefined, 'MILLRACE_RECEIVE_PARTS'),
    bodyTimeout: read(env, {}, undefined, 'MILLRACE_BODY_TIMEOUT_SECONDS'),
    requestsMax: read(env, {}, undefined, 'MILLRACE_REQUESTS_MAX'),
    serveArtifacts: read(env, flags, 'serveArtifacts', 'MLFLOW_SERVE_ARTIFACTS'),
    artifactsOnly: read(env, flags, 'artifactsOnly', 'MLFLOW_ARTIFACTS_ONLY'),
    allowedHosts: read(env, flags, 'allowedHosts', 'MLFLOW_SERVER_ALLOWED_HOSTS'),
    corsAllowedOrigins: read(env, flags, 'corsAllowedOrigins', 'MLFLOW_SERVER_CORS_ALLOWED_ORIGINS'),
    xFrameOptions: read(env, flags, 'xFrameOptions', 'MLFLOW_SERVER_X_FRAME_OPTIONS'),
    disableSecurity: read(env, flags, 'disableSecurityMiddleware', 'MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE'),
  }
}

export function checkGateway(raw: GatewayRaw): GatewayConfig {
  const frames = raw.xFrameOptions && { ...raw.xFrameOptions, value: raw.xFrameOptions.value.toUpperCase() }
  const hosts = checkList(raw.allowedHosts)
  return {
    host: raw.host?.value ?? '127.0.0.1',
    port: checkInteger(raw.port, DEFAULT_PORT, 0, PORT_MAX),
    staticPrefix: checkPrefix(raw.staticPrefix),
    publicUrl: checkUrl(raw.publicUrl),
    receiveParts: checkBoolean(raw.receiveParts, true),
    bodyTimeoutSeconds: checkInteger(raw.bodyTimeout, BODY_TIMEOUT_SECONDS, 1, BODY_TIMEOUT_SECONDS_MAX),
    requestsMax: checkInteger(raw.requestsMax, REQUESTS_MAX, 1, REQUESTS_MAX_MAX),
    serveArtifacts: checkBoolean(raw.serveArtifacts, true),
    artifactsOnly: checkBoolean(raw.artifactsOnly, false),
    security: checkBoolean(raw.disableSecurity, false)
      ? undefined
      : {
          allowedHosts: hosts.length ? hosts : undefined,
          corsAllowedOrigins: checkList(raw.corsAllowedOrigins),
          xFrameOptions: checkOneOf(frames, 'SAMEORIGIN', ['SAMEORIGIN', 'DENY', 'NONE']),
        },
  }
}

function checkUrl(raw: Raw | undefined): string | undefined {
  if (!raw) return undefined
  const url = URL.parse(raw.value)
  if (!url || !/^https?:$/.test(url.protocol) || /[?#]/.test(raw.value)) throw refused(raw, 'http(s)://HOST[:PORT][/PATH]')
  return url.href.replace(/\/+$/, '')
}

function checkPrefix(raw: Raw | undefined): string {
  if (!raw) return ''
  if (!/^(\/[^/{}?#\s]+)+$/.test(raw.value)) throw refused(raw, "a path that begins with '/', does not end with '/' and has no '{' or '}'")
  return raw.value
}
