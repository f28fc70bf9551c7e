import { join } from 'node:path'
import { beforeAll, test } from 'vitest'
import { mlflowVenv } from '../services/install.ts'
import { startMillrace } from '../services/millrace.ts'
import { startMlflow } from '../services/mlflow.ts'
import { tempFolder } from '../services/process.ts'
import { storeSession } from './store-session.ts'

const SESSION_TIMEOUT_MS = 480_000

beforeAll(async () => {
  await mlflowVenv()
})

for (const [name, start] of [
  ['MLflow’s server', startMlflow],
  ['a Millrace server', startMillrace],
] as const) {
  test(`the Python client with ${name} behind the server`, { timeout: SESSION_TIMEOUT_MS }, async () => {
    await using folder = await tempFolder('store-http')
    const cwd = folder.path
    await using other = await start({ cwd, backendStoreUri: `sqlite:///${cwd}/db`, artifactsDestination: join(cwd, 'data') })
    await storeSession('http', { destination: `${other.url}/api/2.0/mlflow-artifacts/artifacts/stored` })
    await storeSession('mlflow-artifacts', { destination: `${other.url.replace('http:', 'mlflow-artifacts:')}/stored` })
  })
}
