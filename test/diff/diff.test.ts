import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, describeWith } from '../services/backends.ts'
import { readTestConfig, sharedFolder } from '../services/config.ts'
import { mlflowVenv } from '../services/install.ts'
import { startMillrace } from '../services/millrace.ts'
import { pythonEnv, startMlflow } from '../services/mlflow.ts'
import { run, tempFolder } from '../services/process.ts'

const script = join(sharedFolder, 'diff/run_diff.py')
const areas = [
  ...['experiments', 'runs', 'metrics', 'params_tags', 'log_batch', 'inputs', 'logged_models'],
  ...['search_runs', 'search_experiments', 'artifacts', 'errors'],
]
/**
 * What differs on purpose, by scenario: a store that has no multipart upload gets one, and server-info says so; names with `#`, which
 * MLflow's clients make, are stored (docs/decisions/number-signs-in-names.md). Anything else in these scenarios must be equal.
 */
const INTENDED: Record<string, RegExp> = {
  'open/artifacts.py::multipart upload on a local store': /^step \d+ POST \S*\/mpu\/(create|abort)\/.*only in A: "NOT_IMPLEMENTED"/,
  'open/errors.py::health and version, server info': /^step \d+ GET \S*\/server-info : \.body\.multipart_uploads_enabled: A=false B=true$/,
  'open/artifacts.py::odd names':
    /^step \d+ (PUT|GET) \S*\/ha%23sh\.txt .*"Invalid path"|^step \d+ GET \S*\?path=\w+ : \.body\.files: 17 entries in A, 18 in B/,
}
const STRICT_SHARE_MIN = 0.95
const DIFF_TIMEOUT_MS = 420_000

interface Scenario {
  name: string
  /** The same answers, words and headers included. */
  equal: boolean
  /** The same answers but for error wording and headers. */
  lenient: boolean
  diffs: string[]
}

/** Every scenario of the areas against one fresh MLflow and one fresh Millrace on the database. */
async function compare(cwd: string, backendStoreUri: string, areas: string[]): Promise<Scenario[]> {
  const bin = await mlflowVenv()
  await using mlflow = await startMlflow({
    cwd,
    backendStoreUri: `sqlite:///${cwd}/reference.db`,
    artifactsDestination: join(cwd, 'reference'),
  })
  await using server = await startMillrace({ cwd, backendStoreUri, artifactsDestination: join(cwd, 'artifacts') })
  const scenarios: Scenario[] = []
  for (const area of areas) {
    const report = join(cwd, `${area}.json`)
    const args = ['-W', 'ignore', script, '--a', mlflow.url, '--b', server.url, '--area', area, '--json', report]
    const { stdout, stderr } = await run(join(bin, 'python'), args, { cwd, env: pythonEnv, timeoutMs: DIFF_TIMEOUT_MS })
    if (!existsSync(report)) throw new Error(`${area} was not compared:\n${stdout}\n${stderr}`)
    console.log(stdout.split('\n').find(line => line.startsWith(area)))
    scenarios.push(...(JSON.parse(await readFile(report, 'utf8')) as Scenario[]))
  }
  return scenarios
}

function isIntended({ name, equal, diffs }: Scenario): boolean {
  const intended = INTENDED[name]
  return !equal && intended !== undefined && diffs.every(diff => intended.test(diff))
}

function differs(scenario: Scenario): boolean {
  return !scenario.lenient && !isIntended(scenario)
}

function areaOf({ name }: Scenario): string {
  return basename(name.split('::')[0] ?? '', '.py')
}

/**
 * Areas with a difference are played a second time, against servers on databases of their own: what the clock decides (rows of the same
 * millisecond, a connection that was just closed) differs once, what the code decides differs twice.
 */
async function equalToMlflow(newDatabase: (folder: string) => Promise<string>): Promise<void> {
  await using folder = await tempFolder('diff')
  const scenarios = await compare(folder.path, await newDatabase(folder.path), areas)
  const strict = scenarios.filter(s => s.equal).length
  console.log(`${strict} of ${scenarios.length} scenarios equal, ${scenarios.filter(isIntended).length} others differ as intended`)
  expect(scenarios.length).toBeGreaterThan(0)
  const wording = scenarios.filter(s => !s.equal).map(s => [s.name, ...s.diffs.slice(0, 2)])
  expect(strict / scenarios.length, JSON.stringify(wording, undefined, 1)).toBeGreaterThanOrEqual(STRICT_SHARE_MIN)

  const first = scenarios.filter(differs)
  if (first.length === 0) return
  console.log(`differ in the first play: ${JSON.stringify(first)}`)
  await using again = await tempFolder('diff')
  const replayed = await compare(again.path, await newDatabase(again.path), [...new Set(first.map(areaOf))])
  const twice = replayed.filter(s => differs(s) && first.some(({ name }) => name === s.name))
  expect(twice.map(s => `${s.name}: ${s.diffs[0]}`).join(' | ')).toBe('')
}

const there = existsSync(script)

if (!there && readTestConfig().ci) {
  test('../shared/diff is beside the clone on CI', () => {
    expect.fail(`${script} is absent`)
  })
}

describe.skipIf(!there)(there ? 'the same answers as MLflow' : `the same answers as MLflow [${script} absent]`, () => {
  beforeAll(async () => {
    await mlflowVenv()
  })

  test('on SQLite', { timeout: DIFF_TIMEOUT_MS }, async () => {
    await equalToMlflow(async folder => `sqlite:///${folder}/mlflow.db`)
  })

  describeWith(['postgres'], 'PostgreSQL', () => {
    test('on PostgreSQL', { timeout: DIFF_TIMEOUT_MS }, async () => {
      await using databases = new AsyncDisposableStack()
      await equalToMlflow(async () => databases.use(await createDatabase('diff')).url)
    })
  })
})
