import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Harness } from '../src/conformance/harness.ts'
import { testArtifactDriver } from '../src/conformance/suite.ts'
import type { Driver } from '../src/driver.ts'
import { LocalDriver } from '../src/drivers/local/driver.ts'

testArtifactDriver('local', async (): Promise<Harness> => {
  const base = await mkdtemp(join(tmpdir(), 'millrace-local-'))
  const roots = new WeakMap<Driver, string>()
  let count = 0
  return {
    capabilities: { multipart: true, presign: false },
    async openEmpty() {
      const root = join(base, String(count++))
      const driver = new LocalDriver(root)
      roots.set(driver, root)
      return driver
    },
    failing: [
      {
        name: 'a root that is too long',
        open: async () => new LocalDriver(join(base, 'x'.repeat(300))),
        codes: ['INVALID_PARAMETER_VALUE'],
      },
      {
        name: 'a root that is a file',
        open: async () => new LocalDriver('/dev/null'),
        codes: ['INVALID_PARAMETER_VALUE', 'RESOURCE_DOES_NOT_EXIST'],
        calls: ['read', 'write'],
      },
    ],
    async leftovers(driver) {
      const root = roots.get(driver) ?? base
      return readdir(root, { recursive: true }).catch(() => [])
    },
    async [Symbol.asyncDispose]() {
      await chmod(base, 0o700)
      await rm(base, { recursive: true })
    },
  }
})
