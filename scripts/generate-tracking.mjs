// Makes prisma/tracking/gen/tables.ts: Kysely's types of MLflow's tables, from prisma/tracking/models.
import { fileURLToPath } from 'node:url'
import { generatePrisma } from './prisma-generate.mjs'

await generatePrisma(fileURLToPath(new URL('../prisma/tracking/models', import.meta.url)))
