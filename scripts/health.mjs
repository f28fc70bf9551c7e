// Exits 0 when the Millrace process of this container is alive.
// usage: node scripts/health.mjs [PORT]
const [port = '5000'] = process.argv.slice(2)
const answer = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(3_000) }).catch(() => undefined)
process.exitCode = answer?.ok ? 0 : 1
