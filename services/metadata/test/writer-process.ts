import { openWorld } from './world.ts'

/** Logs without pause and sends the step of every write that was acknowledged, after the run's id. */
const world = await openWorld(process.argv[2] as string, {}, { portable: process.argv[3] === 'portable' })
const { runId } = await world.newRun()
process.send?.(runId)
let next = 0
await Promise.all(
  Array.from({ length: 16 }, async () => {
    for (;;) {
      const step = next++
      await world.metrics.logMetric({ runId, key: 'm', value: 1, timestamp: 1n, step: BigInt(step) })
      process.send?.(step)
    }
  }),
)
