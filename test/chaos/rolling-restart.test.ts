import { expect, test } from 'vitest'
import { describeWith } from '../services/backends.ts'
import { readTestConfig } from '../services/config.ts'
import { eventually } from '../services/process.ts'
import { openClusterSite } from './cluster-site.ts'
import { startLoad } from './mixed-load.ts'

const { soak } = readTestConfig()
/** Five processes each: 60 stops when there is time. */
const ROUNDS = soak ? 12 : 2
const GATEWAY_STOPS = soak ? 12 : 2
const CALLS_BETWEEN = 100
const TIMEOUT_MS = soak ? 1_800_000 : 480_000

describeWith(['postgres'], 'every service restarted in turn, under the load of eight clients', () => {
  test('behind the gateway: nothing else ends, no read fails even once, no write is lost', { timeout: TIMEOUT_MS }, async () => {
    await using site = await openClusterSite('rolling_behind')
    const { cluster } = site
    const load = await startLoad(cluster.url, { retryReads: false })
    for (let round = 0; round < ROUNDS; round++) {
      for (const one of [...cluster.metadata, ...cluster.artifacts, cluster.gcWorker]) expect(await one.restart(), one.target).toBe(0)
    }
    const { failures, calls } = await load.end()
    expect(failures).toEqual([])
    expect(calls).toBeGreaterThan(500)
    expect(await cluster.gateway.process.end('SIGTERM')).toBe(0)
  })

  test('the gateway: no call fails that is made again as MLflow does, no write is lost', { timeout: TIMEOUT_MS }, async () => {
    await using site = await openClusterSite('rolling_gateway')
    const { gateway, url } = site.cluster
    const load = await startLoad(url, { retryReads: true })
    for (let n = 0; n < GATEWAY_STOPS; n++) {
      const before = load.calls()
      await eventually('the load goes on', async () => load.calls() > before + CALLS_BETWEEN || undefined)
      expect(await gateway.restart()).toBe(0)
    }
    expect((await load.end()).failures).toEqual([])
  })
})
