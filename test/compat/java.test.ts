import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { cacheFolder, repository } from '../services/config.ts'
import { ensurePackages, mlflowVenv, which } from '../services/install.ts'
import { startMillrace } from '../services/millrace.ts'
import { pythonEnv } from '../services/mlflow.ts'
import { runOk, tempFolder } from '../services/process.ts'

const JAVA_TIMEOUT_MS = 420_000

const hasCompiler = () => existsSync('/usr/lib/jvm') && which('javac') !== undefined

beforeAll(async () => {
  await ensurePackages(['openjdk-17-jdk-headless', 'maven'], () => hasCompiler() && which('mvn') !== undefined)
})

test('the Java client logs, searches, reads back, deletes and restores', { timeout: JAVA_TIMEOUT_MS }, async () => {
  // The Java client hands artifacts to the Python client that it finds on PATH.
  const bin = await mlflowVenv()
  await using folder = await tempFolder('java')
  await using server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
  })
  const project = join(repository, 'test/compat/java/pom.xml')
  const goals = ['compile', 'exec:java', `-Dexec.args=${server.url}`, `-DbuildFolder=${join(cacheFolder, 'java')}`]
  const env = { ...pythonEnv, PATH: `${bin}${delimiter}${process.env.PATH}` }
  const printed = await runOk('mvn', ['-q', '-B', '-f', project, ...goals], { cwd: folder.path, env, timeoutMs: JAVA_TIMEOUT_MS })
  expect(printed).toContain('done')
})
