import { join } from 'node:path'
import { mlflowVenv } from './install.ts'
import { answers, freePort, start } from './process.ts'

export interface MlflowServer extends AsyncDisposable {
  readonly url: string
}

/** A real MLflow server on a database and an artifact folder. */
export async function startMlflow(options: { cwd: string; backendStoreUri: string; artifactsDestination: string }): Promise<MlflowServer> {
  const bin = await mlflowVenv()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const server = await start({
    command: join(bin, 'mlflow'),
    args: [
      'server',
      ...['--host', '127.0.0.1', '--port', String(port), '--workers', '1'],
      ...[
        '--backend-store-uri',
        options.backendStoreUri.replace(/^postgresql:/, 'postgresql+psycopg2:'),
        '--artifacts-destination',
        options.artifactsDestination,
      ],
    ],
    cwd: options.cwd,
    env: { ...pythonEnv, MLFLOW_SERVER_ENABLE_JOB_EXECUTION: 'false' },
    ready: () => answers(`${url}/health`),
  })
  return { url, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

/** Keeps a Python client quiet and away from the settings of whoever runs the tests. */
export const pythonEnv: Record<string, string | undefined> = {
  MLFLOW_TRACKING_URI: undefined,
  MLFLOW_REGISTRY_URI: undefined,
  MLFLOW_DISABLE_TELEMETRY: 'true',
  DO_NOT_TRACK: 'true',
  MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR: 'false',
  MLFLOW_HTTP_REQUEST_MAX_RETRIES: '2',
  GIT_PYTHON_REFRESH: 'quiet',
  PYTHONWARNINGS: 'ignore',
}
