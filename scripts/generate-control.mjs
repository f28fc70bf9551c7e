// Makes the control database's Prisma clients, one per provider, from the same models: prisma/control/gen/<provider>/.
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { generatePrisma } from './prisma-generate.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const control = `${root}prisma/control`
const models = globSync('models/*.prisma', { cwd: control })
  .sort()
  .map(path => readFileSync(`${control}/${path}`, 'utf8'))

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
  await generatePrisma(`${folder}/schema.prisma`)
}
