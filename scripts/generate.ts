/**
 * Makes the code that is generated and not committed. A step whose inputs and tools are as they were is skipped, so this is called
 * before everything that needs the code. Works without a network.
 *
 *     node scripts/generate.ts [--force | --check]     --check fails when something is stale and changes nothing
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Step {
  readonly name: string
  /** Globs of the files that the result depends on. */
  readonly inputs: readonly string[]
  /** Packages whose versions the result depends on. */
  readonly tools: readonly string[]
  /** A file that is there when the step has been run. */
  readonly output: string
  readonly prepare?: () => void
  readonly command: readonly string[]
}

const STEPS: readonly Step[] = [
  {
    name: 'proto',
    inputs: ['proto/{google,millrace}/**/*.proto', 'buf.yaml', 'buf.gen.yaml'],
    tools: ['@bufbuild/buf', '@bufbuild/protoc-gen-es'],
    output: 'proto/gen/millrace/tracking/v1/runs_pb.js',
    command: [process.execPath, 'node_modules/@bufbuild/buf/bin/buf', 'generate'],
  },
  ...(['sqlite', 'postgresql'] as const).map(provider => ({
    name: `control on ${provider}`,
    inputs: ['prisma/control/models/*.prisma'],
    tools: ['prisma'],
    output: `prisma/control/gen/${provider}/client/client.ts`,
    prepare: () => writeControlSchema(provider),
    command: ['scripts/prisma.sh', 'generate', '--schema', `prisma/control/gen/${provider}/schema.prisma`],
  })),
  {
    name: 'tracking',
    inputs: ['prisma/tracking/models/*.prisma'],
    tools: ['prisma', 'prisma-kysely'],
    output: 'prisma/tracking/gen/tables.ts',
    command: ['scripts/prisma.sh', 'generate', '--schema', 'prisma/tracking/models'],
  },
]
const STEP_TIMEOUT_MS = 120_000

const root = fileURLToPath(new URL('..', import.meta.url))
const stateFile = join(root, '.cache/generated.json')
const [mode] = process.argv.slice(2)
const lock: { packages: Record<string, { version?: string }> } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
const state: Record<string, string> = existsSync(stateFile) ? JSON.parse(readFileSync(stateFile, 'utf8')) : {}
const stale = STEPS.filter(step => mode === '--force' || state[step.name] !== fingerprint(step) || !existsSync(join(root, step.output)))

if (mode === '--check') {
  for (const { name } of stale) console.error(`The generated code of ${name} is stale: npm run generate`)
  process.exitCode = stale.length > 0 ? 1 : 0
} else {
  stale.forEach(run)
}

function fingerprint(step: Step): string {
  const hash = createHash('sha256')
  for (const path of step.inputs.flatMap(pattern => globSync(pattern, { cwd: root })).sort()) {
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update('\0')
  }
  for (const tool of step.tools) hash.update(`${tool}@${lock.packages[`node_modules/${tool}`]?.version}\0`)
  return hash.digest('hex')
}

function run(step: Step): void {
  const started = performance.now()
  const [command = '', ...args] = step.command
  for (const tool of step.tools) {
    if (existsSync(join(root, 'node_modules', tool))) continue
    console.error(`Generating ${step.name} needs ${tool}, a development package: npm ci && npm run generate, then npm prune --omit=dev.`)
    process.exit(1)
  }
  step.prepare?.()
  const { status, error, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8', timeout: STEP_TIMEOUT_MS })
  if (status !== 0) throw new Error(`Generating ${step.name} failed\n${stderr}`, { cause: error })
  state[step.name] = fingerprint(step)
  mkdirSync(dirname(stateFile), { recursive: true })
  writeFileSync(stateFile, `${JSON.stringify(state, null, 2)}\n`)
  console.error(`Generated ${step.name} in ${((performance.now() - started) / 1000).toFixed(1)} s`)
}

/** A Prisma schema is for one database: each has a copy of the models with its own name in it, and the client beside it. */
function writeControlSchema(provider: string): void {
  const folder = join(root, 'prisma/control/gen', provider)
  const models = globSync('prisma/control/models/*.prisma', { cwd: root }).sort()
  const schema = models.map(path => readFileSync(join(root, path), 'utf8')).join('\n')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'schema.prisma'), schema.replace('provider = "sqlite"', `provider = "${provider}"`))
}
