// Makes the control database's Prisma clients, one per provider, from the same models: prisma/control/gen/<provider>/.
import { spawnSync } from 'node:child_process'
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const control = `${root}prisma/control`
const models = globSync('models/*.prisma', { cwd: control })
  .sort()
  .map(path => readFileSync(`${control}/${path}`, 'utf8'))
const cli = `${root}node_modules/prisma/build/index.js`

for (const provider of ['sqlite', 'postgresql']) {
  const folder = `${control}/gen/${provider}`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const head = `generator client {
  provider               = "prisma-client"
  output                 = "./client"
  runtime                = "nodejs"
  moduleFormat           = "esm"
  importFileExtension    = "ts"
  generatedFileExtension = "ts"
}

datasource db {
  provider = "${provider}"
}
`
  writeFileSync(`${folder}/schema.prisma`, [head, ...models].join('\n'))
  // The schema engine is a download that generating doesn't need: any program that exists stands in for it.
  const env = { ...process.env, CHECKPOINT_DISABLE: '1', PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true', PRISMA_HIDE_UPDATE_MESSAGE: '1' }
  const args = [cli, 'generate', '--no-hints', '--schema', `${folder}/schema.prisma`]
  const { status } = spawnSync(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'ignore', 'inherit'], timeout: 120_000 })
  if (status !== 0) throw new Error(`prisma generate failed for ${provider}`)
}
