import type { ReplicaCounts } from '@millrace/kit/balance'
import type { GatewayContext } from '../context.ts'
import { writeHtml, writeJson, writeText } from './respond.ts'
import type { RawRoute } from './route.ts'

/** The MLflow release whose clients and database Millrace serves. */
export const MLFLOW_VERSION = '3.17.2'

const PART_TIMEOUT_MS = 3_000

type Check = GatewayContext['ready'][string]

/** Liveness: the process answers. */
const health: RawRoute = { method: 'GET', pattern: '/health', access: { public: true }, handle: (_req, res) => writeText(res, 200, 'OK') }

/** The MLflow version, which clients compare. */
const version: RawRoute = {
  method: 'GET',
  pattern: '/version',
  access: { signedIn: true },
  handle: (_req, res) => writeHtml(res, 200, MLFLOW_VERSION),
}

/**
 * Readiness by service: 503 when one can't serve; `degraded`, with numbers, when some of its replicas can't. Reasons go only to the log,
 * since they may contain host names.
 */
const ready: RawRoute = {
  method: 'GET',
  pattern: '/ready',
  access: { public: true },
  async handle(_req, res, _params, { ready, log }) {
    const replicas: Record<string, ReplicaCounts> = {}
    const stateOf = async (name: string, check: Check) => {
      try {
        const counts = await within(check(), PART_TIMEOUT_MS)
        if (!counts || counts.ready === counts.total) return 'ready'
        replicas[name] = counts
        return 'degraded'
      } catch (reason) {
        log?.warn('a part is not ready', { part: name, reason })
        return 'unavailable'
      }
    }
    const checks = Object.entries(ready).map(async ([name, check]) => [name, await stateOf(name, check)] as const)
    const parts = Object.fromEntries(await Promise.all(checks))
    const all = Object.values(parts).every(state => state !== 'unavailable')
    const shown = Object.keys(replicas).length > 0 ? replicas : undefined
    writeJson(res, JSON.stringify({ status: all ? 'ready' : 'unavailable', parts, replicas: shown }), all ? 200 : 503)
  },
}

async function within(work: ReturnType<Check>, timeoutMs: number) {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

const LANDING = `<!doctype html>
<html lang=en>
<meta charset=utf-8>
<title>Millrace</title>
<h1>Millrace</h1>
<p>An MLflow ${MLFLOW_VERSION} tracking server. Point a client here with MLFLOW_TRACKING_URI.
<p><a href="openapi.json">openapi.json</a> <a href="ready">ready</a> <a href="version">version</a>
`

const landing: RawRoute = { method: 'GET', pattern: '/', access: { signedIn: true }, handle: (_req, res) => writeHtml(res, 200, LANDING) }

export const probes: readonly RawRoute[] = [health, ready, version, landing]
