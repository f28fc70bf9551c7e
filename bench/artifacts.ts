/**
 * A big file up and down through the artifact proxy, beside a bare node:http copy in the same minute. Exits 1 when memory grows by
 * 150 MiB or more, or the rate is less than half of the bare copy's.
 *
 *     node bench/artifacts.ts [--gib 2] [--artifacts-destination URI]
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startMillrace } from '../test/services/millrace.ts'
import { eventually, start, tempFolder } from '../test/services/process.ts'
import { download, growthDuring, upload } from './transfer.ts'

const GROWTH_BYTES_MAX = 150 * 1024 ** 2
const BARE_SHARE_MIN = 0.5

const { values } = parseArgs({ options: { gib: { type: 'string', default: '2' }, 'artifacts-destination': { type: 'string' } } })
const size = Math.round(Number(values.gib) * 1024 ** 3)
await using folder = await tempFolder('bench')
const cwd = folder.path
await using bare = await start({ command: process.execPath, args: [join(import.meta.dirname, 'bare-copy.ts'), cwd], cwd })
const barePort = await eventually('the bare server listens', async () => Number(bare.log()) || undefined)
await using server = await startMillrace({
  cwd,
  backendStoreUri: `sqlite:///${cwd}/mlflow.db`,
  artifactsDestination: values['artifacts-destination'] ?? join(cwd, 'artifacts'),
})

const url = `${server.url}/api/2.0/mlflow-artifacts/artifacts/bench/big.bin`
const bareUrl = `http://127.0.0.1:${barePort}/`
let ok = true
for (const [way, move] of [
  ['up', upload],
  ['down', download],
] as const) {
  const bareRate = await move(bareUrl, size)
  let own = 0
  const growth = await growthDuring(server.process.pid, async () => {
    own = await move(url, size)
  })
  const share = own / bareRate
  console.log(
    `${way.padEnd(4)} ${own.toFixed(0)} MiB/s, bare copy ${bareRate.toFixed(0)} MiB/s (${(share * 100).toFixed(0)} %), memory +${(growth / 1024 ** 2).toFixed(0)} MiB`,
  )
  ok &&= growth < GROWTH_BYTES_MAX && share >= BARE_SHARE_MIN
}
process.exitCode = ok ? 0 : 1
