import { expect, test } from 'vitest'
import { describeWith } from '../services/backends.ts'
import { openClusterSite } from './cluster-site.ts'
import { startLoad } from './mixed-load.ts'

const TIMEOUT_MS = 180_000
const ROUNDS = 2

describeWith(['postgres'], 'every service restarted in turn, under the load of eight clients', () => {
  test('services behind the gateway: no read fails without being made again, no write with it', { timeout: TIMEOUT_MS }, async () => {
    await using site = await openClusterSite('rolling_behind')
    const { cluster } = site
    const load = await startLoad(cluster.url, { retryReads: false })
    for (let round = 0; round < ROUNDS; round++) {
      for (const one of [...cluster.metadata, ...cluster.artifacts, cluster.gcWorker]) expect(await one.restart(), one.target).toBe(0)
    }
    const { failures, calls } = await load.end()
    expect(failures).toEqual([])
    expect(calls).toBeGreaterThan(500)
  })
})
