// Runs the generators of a Prisma schema (a file or a folder) without Prisma's command line, which weighs 130 MiB more.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { PrismaClientTsGenerator } = require('@prisma/client-generator-ts')
const { getGenerators } = require('@prisma/internals')

/** @param {string} schemaPath */
export async function generatePrisma(schemaPath) {
  // Its engines are downloads that generating doesn't need: any program that exists stands in for them.
  process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= process.execPath
  const generators = await getGenerators({
    schemaPath,
    skipDownload: true,
    cliCommand: 'npm run generate',
    registry: { 'prisma-client': { type: 'in-process', generator: new PrismaClientTsGenerator() } },
  })
  for (const generator of generators) {
    try {
      await generator.generate()
    } finally {
      generator.stop()
    }
  }
}
