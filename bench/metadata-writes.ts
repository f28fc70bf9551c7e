/**
 * How fast the metadata service writes, without HTTP: calls over the direct transport, as many at once as given.
 *
 *     node bench/metadata-writes.ts [--callers 8] [--seconds 5] [--uri sqlite:////tmp/bench.db] [log-metric log-batch create-run lifecycle]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createClient } from '@connectrpc/connect'
import { createDirectTransport } from '@millrace/kit/rpc'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { RunService, RunStatus } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { checkMetadata, openMetadata } from '../services/metadata/src/service.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    callers: { type: 'string', default: '8' },
    seconds: { type: 'string', default: '5' },
    uri: { type: 'string' },
  },
})
const callers = Number(values.callers)
const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'))
const uri = values.uri ?? `sqlite:///${folder}/mlflow.db`
const metadata = await openMetadata(checkMetadata({ backendStoreUri: { value: uri, source: '--uri' } }, () => undefined))
const transport = createDirectTransport(metadata.routes)
const experiments = createClient(ExperimentService, transport)
const runs = createClient(RunService, transport)
const metrics = createClient(MetricService, transport)

const { experimentId } = await experiments.createExperiment({ name: `bench-${Date.now()}` })
const newRun = async () => (await runs.createRun({ experimentId, startTime: BigInt(Date.now()) })).run?.info?.runId as string

/** What one run's first batch holds. */
function seedBatch(runId: string) {
  const timestamp = BigInt(Date.now())
  return {
    runId,
    metrics: Array.from({ length: 10 }, (_, k) => ({ key: `m${k}`, value: Math.random(), timestamp, step: 0n })),
    params: Array.from({ length: 10 }, (_, k) => ({ key: `p${k}`, value: `v${k}` })),
    tags: Array.from({ length: 5 }, (_, k) => ({ key: `t${k}`, value: `w${k}` })),
  }
}

const logMetric = (runId: string, step: number) =>
  metrics.logMetric({ runId, key: 'loss', value: Math.random(), timestamp: BigInt(Date.now()), step: BigInt(step) })

/** Each does one unit of work, or more, for a caller's run and answers how many units. */
const scenarios: Record<string, (runId: string, i: number) => Promise<number>> = {
  'log-metric': async (runId, i) => {
    await logMetric(runId, i)
    return 1
  },
  'log-batch': async (runId, i) => {
    const timestamp = BigInt(Date.now())
    const points = Array.from({ length: 100 }, (_, k) => ({
      key: `m${k % 10}`,
      value: Math.random(),
      timestamp,
      step: BigInt(i * 10 + Math.floor(k / 10)),
    }))
    await runs.logBatch({ runId, metrics: points })
    return 100
  },
  'create-run': async () => {
    await newRun()
    return 1
  },
  lifecycle: async () => {
    const runId = await newRun()
    await runs.logBatch(seedBatch(runId))
    for (let step = 0; step < 5; step++) await logMetric(runId, step)
    await runs.updateRun({ runId, status: RunStatus.FINISHED, endTime: BigInt(Date.now()) })
    return 1
  },
}

for (const name of positionals.length > 0 ? positionals : Object.keys(scenarios)) {
  const scenario = scenarios[name]
  if (!scenario) throw new Error(`no scenario ${name}: ${Object.keys(scenarios).join(', ')}`)
  const ids = await Promise.all(Array.from({ length: callers }, newRun))
  const latencies: number[] = []
  let units = 0
  const start = performance.now()
  const end = start + 1000 * Number(values.seconds)
  await Promise.all(
    ids.map(async id => {
      for (let i = 0; performance.now() < end; i++) {
        const before = performance.now()
        const done = await scenario(id, i)
        units += done
        latencies.push(performance.now() - before)
      }
    }),
  )
  const seconds = (performance.now() - start) / 1000
  latencies.sort((a, b) => a - b)
  const at = (q: number) => (latencies[Math.floor(q * (latencies.length - 1))] ?? 0).toFixed(2)
  console.log(`${name.padEnd(12)} ${Math.round(units / seconds)}/s  p50 ${at(0.5)} ms  p99 ${at(0.99)} ms  max ${at(1)} ms`)
}
await metadata[Symbol.asyncDispose]()
rmSync(folder, { recursive: true })
