import { afterAll, beforeAll, describe } from 'vitest'
import { RECEIVED_PARTS } from '../keys.ts'
import { failureCases } from './failures.ts'
import type { Harness, Suite } from './harness.ts'
import { multipartCases } from './multipart.ts'
import { objectCases } from './objects.ts'
import { presignCases } from './presign.ts'
import { treeCases } from './trees.ts'

/** A driver's whole test: what Driver promises, on a real server. */
export function testArtifactDriver(name: string, makeHarness: () => Promise<Harness>): void {
  describe(`artifact driver ${name}`, () => {
    let harness: Harness | undefined
    const suite: Suite = {
      harness() {
        if (!harness) throw new Error('the harness is not open')
        return harness
      },
      async withDriver(keys, action) {
        const driver = await suite.harness().openEmpty()
        try {
          await action(driver)
        } finally {
          for (const key of keys) await driver.remove(key)
        }
        // The folder of parts stays, for others may be about to begin an upload.
        const left = (await suite.harness().leftovers(driver)).filter(name => !name.endsWith(RECEIVED_PARTS))
        if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`)
      },
    }
    beforeAll(async () => {
      harness = await makeHarness()
    }, 30_000)
    afterAll(() => harness?.[Symbol.asyncDispose]())
    objectCases(suite)
    treeCases(suite)
    failureCases(suite)
    multipartCases(suite)
    presignCases(suite)
  })
}
