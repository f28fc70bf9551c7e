// Prints the SQL of the control database's models: what a new migration in prisma/control/migrations is cut from.
// usage: node scripts/control-migration.mjs sqlite
//        node scripts/control-migration.mjs postgresql postgresql://USER@HOST/DATABASE   (asked for its version, not changed)
// Prisma's own engine for this is a download; its WebAssembly build is in the registry.
import { readFileSync } from 'node:fs'
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils'

const engine = import.meta.resolve('@prisma/schema-engine-wasm')
const glue = await import(new URL('./schema_engine_bg.js', engine).href)
const bytes = readFileSync(new URL('./schema_engine_bg.wasm', engine))
const { instance } = await WebAssembly.instantiate(bytes, { './schema_engine_bg.js': glue })
glue.__wbg_set_wasm(instance.exports)
instance.exports.__wbindgen_start()
globalThis.PRISMA_WASM_PANIC_REGISTRY = { set_message: message => console.error(message) }

const [, , provider, connectionString] = process.argv
const adapters = {
  sqlite: async () => new (await import('@prisma/adapter-better-sqlite3')).PrismaBetterSqlite3({ url: ':memory:' }),
  postgresql: async () => new (await import('@prisma/adapter-pg')).PrismaPg({ connectionString }),
}
const path = new URL(`../prisma/control/gen/${provider}/schema.prisma`, import.meta.url).pathname
const content = readFileSync(path, 'utf8')
const factory = bindMigrationAwareSqlAdapterFactory(await adapters[provider]())
const schema = await glue.SchemaEngine.new({ datamodels: [[path, content]] }, () => {}, factory)
const answer = await schema.diff({
  from: { tag: 'empty' },
  to: { tag: 'schemaDatamodel', files: [{ path, content }] },
  script: true,
  shadowDatabaseUrl: null,
  exitCode: null,
  filters: { externalTables: [], externalEnums: [] },
})
// The migrator chooses the schema.
const sql = answer.stdout.replace(/^-- CreateSchema\n.*\n\n/, '')
process.stdout.write(sql, () => process.exit(0))
