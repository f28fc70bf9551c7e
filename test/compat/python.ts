import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { mlflowVenv } from '../services/install.ts'
import { pythonEnv } from '../services/mlflow.ts'
import { runOk } from '../services/process.ts'

const here = dirname(fileURLToPath(import.meta.url))

/** Runs one of this folder's scripts with the unmodified MLflow client; answers the last line it printed. */
export async function python(
  script: string,
  trackingUri: string,
  options: { args?: string[]; env?: Record<string, string>; cwd: string; timeoutMs?: number },
): Promise<string> {
  const bin = await mlflowVenv()
  const env = { ...pythonEnv, MLFLOW_TRACKING_URI: trackingUri, PYTHONDONTWRITEBYTECODE: '1', ...options.env }
  const { cwd, timeoutMs } = options
  const stdout = await runOk(join(bin, 'python'), [join(here, script), ...(options.args ?? [])], { cwd, env, timeoutMs })
  return stdout.trimEnd().split('\n').at(-1) ?? ''
}
