import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { createBucket, describeWith, describeWithServer } from '../../../test/services/backends.ts'
import { startMillrace } from '../../../test/services/millrace.ts'
import { startMlflow } from '../../../test/services/mlflow.ts'
import { tempFolder } from '../../../test/services/process.ts'
import type { Harness } from '../src/conformance/harness.ts'
import { testArtifactDriver } from '../src/conformance/suite.ts'
import type { Driver, Scheme } from '../src/driver.ts'
import { checkHttpConfig, readHttpConfig } from '../src/drivers/http/config.ts'
import { openHttpScheme } from '../src/drivers/http/scheme.ts'

/** Names that MLflow's path rules would change; the driver refuses them. */
const ALTERED_KEYS = ['per%25cent.txt', 'ta\tb']
/** Names that MLflow's server refuses. */
const REFUSED_KEYS = ['num#ber.txt', 'image#b%step%0?.png']

const LOOKS_MAX = 40
const LOOKS_AT_NOTHING = 3

const API = '/api/2.0/mlflow-artifacts/artifacts'

/** The suite below a folder per test of a server that keeps its artifacts where `leftovers` looks. */
function harness(url: string, capabilities: Harness['capabilities'], leftovers: (folder: string) => Promise<string[]>): Harness {
  const schemes: Scheme[] = []
  const open = (root: string, env: Record<string, string> = {}) => {
    const scheme = openHttpScheme(checkHttpConfig(readHttpConfig({ MLFLOW_HTTP_REQUEST_TIMEOUT: '20', ...env })))
    schemes.push(scheme)
    return Promise.resolve(scheme.open(root, { isTrusted: true }))
  }
  const folders = new WeakMap<Driver, string>()
  let count = 0
  return {
    capabilities: { presignedUpload: false, ...capabilities },
    partSizeBytesMin: 5 * 1024 * 1024,
    unfitKeys: ALTERED_KEYS,
    async openEmpty() {
      const folder = `tests/root ${count++}`
      const driver = await open(`${url}${API}/${folder}`)
      folders.set(driver, folder)
      return driver
    },
    failing: [
      { name: 'a closed port', open: () => open(`http://127.0.0.1:1${API}/x`), codes: ['TEMPORARILY_UNAVAILABLE'] },
      {
        name: 'another API',
        open: () => open(`${url}/other${API}/x`),
        codes: ['RESOURCE_DOES_NOT_EXIST', 'INTERNAL_ERROR'],
        calls: ['read', 'write'],
      },
    ],
    // The other server learns of an upload, and that it was cut off, a moment after the driver has said so.
    async leftovers(driver) {
      const folder = folders.get(driver) ?? ''
      let found: string[] = []
      for (let look = 0, nothing = 0; look < LOOKS_MAX && nothing < LOOKS_AT_NOTHING; look++) {
        await setTimeout(50)
        found = await leftovers(folder)
        nothing = found.length === 0 ? nothing + 1 : 0
      }
      return found
    },
    async [Symbol.asyncDispose]() {
      for (const scheme of schemes) await scheme[Symbol.asyncDispose]()
    },
  }
}

const namesBelow = (folder: string) => readdir(folder, { recursive: true }).catch(() => [])

await describeWithServer(
  'a Millrace server on a folder',
  () => onFolder(startMillrace),
  ({ url, data }) => {
    testArtifactDriver('http', async () => harness(url, { multipart: true, presign: false }, folder => namesBelow(join(data, folder))))
  },
)

await describeWithServer(
  'MLflow’s server on a folder',
  () => onFolder(startMlflow),
  ({ url, data }) => {
    testArtifactDriver('http', async () => ({
      ...harness(url, { multipart: true, presign: false }, async folder =>
        (await namesBelow(join(data, folder))).filter(name => name !== '.millrace.uploading.parts'),
      ),
      unfitKeys: [...ALTERED_KEYS, ...REFUSED_KEYS],
      keepsFolders: true,
    }))
  },
)

type Start = (options: { cwd: string; backendStoreUri: string; artifactsDestination: string }) => Promise<AsyncDisposable & { url: string }>

async function onFolder(start: Start): Promise<AsyncDisposable & { url: string; data: string }> {
  await using stack = new AsyncDisposableStack()
  const cwd = stack.use(await tempFolder('http')).path
  const data = join(cwd, 'data')
  const { url } = stack.use(await start({ cwd, backendStoreUri: `sqlite:///${cwd}/db`, artifactsDestination: data }))
  const opened = stack.move()
  return { url, data, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

describeWith(['s3'], 'a Millrace server on S3', () => {
  testArtifactDriver('http', async () => {
    await using stack = new AsyncDisposableStack()
    const bucket = stack.use(await createBucket('http'))
    const cwd = stack.use(await tempFolder('http')).path
    const { url } = stack.use(
      await startMillrace({ cwd, backendStoreUri: `sqlite:///${cwd}/db`, artifactsDestination: bucket.uri, env: bucket.env }),
    )
    const found = harness(url, { multipart: true, presign: true }, async folder =>
      (await bucket.keys()).filter(key => key.startsWith(`${folder}/`)),
    )
    stack.use(found)
    const opened = stack.move()
    return { ...found, unfitKeys: [...ALTERED_KEYS, 'back\\slash'], [Symbol.asyncDispose]: () => opened.disposeAsync() }
  })
})
