/**
 * Time from starting the all-in-one server to its first answer from /health on an empty folder, and its resident memory when idle.
 * Exits 1 when the median is 2 s or more, or the memory 150 MiB or more.
 *
 *     node bench/start.ts [--times 5]
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startMillrace } from '../test/services/millrace.ts'
import { tempFolder } from '../test/services/process.ts'
import { residentBytes } from './transfer.ts'

const START_MS_MAX = 2_000
const IDLE_BYTES_MAX = 150 * 1024 ** 2
const IDLE_AFTER_MS = 3_000

const { values } = parseArgs({ options: { times: { type: 'string', default: '5' } } })
const starts: number[] = []
const idle: number[] = []
for (let i = 0; i < Number(values.times); i++) {
  await using folder = await tempFolder('start')
  const cwd = folder.path
  const begun = performance.now()
  await using server = await startMillrace({
    cwd,
    backendStoreUri: `sqlite:///${cwd}/mlflow.db`,
    artifactsDestination: join(cwd, 'artifacts'),
  })
  starts.push(performance.now() - begun)
  await sleep(IDLE_AFTER_MS)
  idle.push(await residentBytes(server.process.pid))
}
const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
console.log(
  `start to /health: ${median(starts).toFixed(0)} ms, idle memory: ${(median(idle) / 1024 ** 2).toFixed(0)} MiB (medians of ${starts.length})`,
)
process.exitCode = median(starts) < START_MS_MAX && median(idle) < IDLE_BYTES_MAX ? 0 : 1
