import { finished } from 'node:stream/promises'
import { MlflowError } from '@millrace/kit/errors'
import { describe, expect, test } from 'vitest'
import { bodyOf, generated } from './bodies.ts'
import type { Call, Suite } from './harness.ts'

const SECRETS = /secret|password|AKIA|\bat \S+\.[jt]s:|node_modules/i

/** More than any driver holds of a body. */
const REFUSED_BYTES = 48 * 1024 * 1024

export function failureCases({ harness }: Suite): void {
  describe('failures', () => {
    test('a store that fails says how in an error code, without secrets', async () => {
      for (const { name, open, codes, calls } of harness().failing) {
        const driver = await open()
        const actions: Record<Call, () => Promise<unknown>> = {
          read: () => driver.read('x'),
          write: () => driver.write('x', bodyOf('1')),
          stat: () => driver.stat('x'),
          remove: () => driver.remove('x'),
          list: async () => {
            for await (const _ of driver.list('')) break
          },
        }
        for (const call of calls ?? (Object.keys(actions) as Call[])) {
          const error: unknown = await actions[call]().then(
            () => undefined,
            reason => reason,
          )
          expect(codes, `${call} with ${name}: ${error}`).toContain(error instanceof MlflowError ? error.errorCode : undefined)
          expect(String(error)).not.toMatch(SECRETS)
        }
      }
    })

    test('a body that the store refuses can be read to its end by others', async () => {
      for (const { name, open, codes, calls = ['write'] } of harness().failing) {
        if (!calls.includes('write')) continue
        const driver = await open()
        for (const length of [REFUSED_BYTES, undefined]) {
          const body = generated(REFUSED_BYTES)
          const error: unknown = await driver.write('x', body, { length }).catch(reason => reason)
          expect(codes, `${length} bytes with ${name}: ${error}`).toContain(error instanceof MlflowError ? error.errorCode : undefined)
          body.resume()
          await finished(body)
        }
      }
    })
  })
}
