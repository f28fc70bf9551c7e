import { describeWithServer } from '../../../test/services/backends.ts'
import { createGcsBucket, startGcs } from '../../../test/services/gcs.ts'
import type { Harness } from '../src/conformance/harness.ts'
import { testArtifactDriver } from '../src/conformance/suite.ts'
import type { Driver, Scheme } from '../src/driver.ts'
import { openGcsScheme } from '../src/drivers/gcs/scheme.ts'
import { HeldBytes } from '../src/held-bytes.ts'
import { gcsConfig } from './gcs-server.ts'

await describeWithServer(
  'fake-gcs-server',
  () => startGcs(),
  server => {
    testArtifactDriver('gcs', () => openHarness())
    // Two chunks for bodies of 4 MB; smaller ones make fake-gcs-server slow, which copies all with each chunk.
    const chunkBytes = 14 * 256 * 1024
    testArtifactDriver('gcs in chunks', () => openHarness({ MLFLOW_GCS_UPLOAD_CHUNK_SIZE: String(chunkBytes) }))
    testArtifactDriver('gcs without room for bodies', () => openHarness({}, new HeldBytes(0)))

    async function openHarness(sizes: Record<string, string> = {}, held?: HeldBytes): Promise<Harness> {
      const bucket = await createGcsBucket(server)
      const schemes: Scheme[] = []
      const open = async (env: Record<string, string>, root: string) => {
        const timeout = { MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '20' }
        const scheme = openGcsScheme(gcsConfig({ ...server.env, ...timeout, ...sizes, ...env }), held)
        schemes.push(scheme)
        return scheme.open(root)
      }
      const prefixes = new WeakMap<Driver, string>()
      let count = 0
      return {
        capabilities: { multipart: true, presign: true },
        partSizeBytesMin: 1024 * 1024,
        // fake-gcs-server looks at neither; gcs-signing.test.ts has Google's own client look instead.
        unchecked: ['signatures', 'dispositions'],
        async openEmpty() {
          const prefix = `root ${count++}`
          const driver = await open({}, `${bucket.uri}/${prefix}`)
          prefixes.set(driver, prefix)
          return driver
        },
        failing: [
          { name: 'a missing bucket', open: () => open({}, `${bucket.uri}-missing/x`), codes: ['RESOURCE_DOES_NOT_EXIST'] },
          {
            name: 'a closed port',
            open: () => open({ STORAGE_EMULATOR_HOST: '127.0.0.1:1' }, `${bucket.uri}/x`),
            codes: ['TEMPORARILY_UNAVAILABLE'],
          },
        ],
        leftovers: driver => bucket.names(`${prefixes.get(driver)}/`),
        async [Symbol.asyncDispose]() {
          for (const scheme of schemes) await scheme[Symbol.asyncDispose]()
        },
      }
    }
  },
)
