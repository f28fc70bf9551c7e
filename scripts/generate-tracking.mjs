// Makes prisma/tracking/gen/tables.ts: Kysely's types of MLflow's tables, from prisma/tracking/models.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const args = [`${root}node_modules/prisma/build/index.js`, 'generate', '--schema', `${root}prisma/tracking/models`]
// Without these the CLI looks for an engine to download, which generating does not need.
const env = {
  ...process.env,
  CHECKPOINT_DISABLE: '1',
  PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true',
  PATH: `${root}node_modules/.bin:${process.env.PATH}`,
}
const { status } = spawnSync(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'], env, cwd: root })
process.exit(status ?? 1)
