import { writeHtml, writeJson, writeText } from '../rest/respond.ts'
import type { RawRoute } from './route.ts'

/** The MLflow release whose clients and database Millrace serves. */
export const MLFLOW_VERSION = '3.17.2'

const PART_TIMEOUT_MS = 3_000

/** Liveness: the process answers. */
const health: RawRoute = { method: 'GET', pattern: '/health', handle: (_req, res) => writeText(res, 200, 'OK') }

/** The MLflow version, which clients compare. */
const version: RawRoute = { method: 'GET', pattern: '/version', handle: (_req, res) => writeHtml(res, 200, MLFLOW_VERSION) }

/** Readiness by part: 503 when one can't serve. Reasons stay in the log: they may name hosts. */
const ready: RawRoute = {
  method: 'GET',
  pattern: '/ready',
  async handle(_req, res, _params, { ready, log }) {
    const checks = Object.entries(ready).map(async ([name, check]) => {
      try {
        await within(check(), PART_TIMEOUT_MS)
        return [name, 'ready'] as const
      } catch (reason) {
        log?.warn('a part is not ready', { part: name, reason })
        return [name, 'unavailable'] as const
      }
    })
    const parts = Object.fromEntries(await Promise.all(checks))
    const all = Object.values(parts).every(state => state === 'ready')
    writeJson(res, JSON.stringify({ status: all ? 'ready' : 'unavailable', parts }), all ? 200 : 503)
  },
}

async function within(work: Promise<void>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    await Promise.race([work, late])
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

const landing: RawRoute = { method: 'GET', pattern: '/', handle: (_req, res) => writeHtml(res, 200, LANDING) }

export const probes: readonly RawRoute[] = [health, ready, version, landing]
