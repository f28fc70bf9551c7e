/**
 * Makes prisma/tracking/{sqlite,postgresql}.sql and prisma/tracking/models/*.prisma from a page that holds MLflow's DDL at one
 * revision (sections "A. SQLite DDL" and "### postgresql").
 *
 *     node scripts/tracking-schema.ts PAGE.md
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'

const OUT = new URL('../prisma/tracking/', import.meta.url)

/** Tables by the noun whose file they are in; a table that is not listed goes to other.prisma. */
const NOUNS: Record<string, RegExp> = {
  experiments: /^(experiments|experiment_tags|workspaces|alembic_version)$/,
  runs: /^(runs|tags|params)$/,
  metrics: /^(metrics|latest_metrics)$/,
  datasets: /^(datasets|inputs|input_tags)$/,
  logged_models: /^logged_model/,
  registry: /^(registered_model|model_version|webhook)/,
  traces: /^(trace_|spans$|span_|assessments$|sql_)/,
  evaluation: /^(evaluation_|scorer|online_scoring|issues$|label_schemas$|review_|entity_associations$)/,
  mcp: /^mcp_/,
  ai_gateway: /^(endpoint|guardrail|budget_|secrets$|model_definitions$)/,
  jobs: /^(jobs$|job_|scheduler_)/,
}

const SCHEMA = `// MLflow's own tables, as on PostgreSQL. Types for Kysely are made from these models; nothing is migrated with them.
// A 64-bit column is a number or, in a wide query, a bigint; a boolean is 0 or 1 on SQLite.

generator kysely {
  provider             = "prisma-kysely"
  output               = "../gen"
  fileName             = "tables.ts"
  bigIntTypeOverride   = "number | bigint"
  booleanTypeOverride  = "boolean | number | bigint"
  dateTimeTypeOverride = "string"
  jsonTypeOverride     = "string"
}

datasource db {
  provider = "postgresql"
}
`

const page = readFileSync(process.argv[2] ?? fail('usage: tracking-schema.ts PAGE.md'), 'utf8')
const revision = /`alembic_version\.version_num` = `(\w+)`/.exec(page)?.[1] ?? fail('the page names no revision')
const sqlite = block('## A. SQLite DDL')
const postgresql = block('### postgresql')

mkdirSync(OUT, { recursive: true })
writeFileSync(new URL('sqlite.sql', OUT), statements('sqlite', sqlite))
writeFileSync(new URL('postgresql.sql', OUT), statements('postgresql', postgresql))
writeModels(postgresql)

function fail(message: string): never {
  console.error(message)
  process.exit(2)
}

function block(heading: string): string {
  const at = page.indexOf(`\n${heading}`)
  const start = page.indexOf('```sql\n', at) + 7
  if (at < 0 || start < 7) fail(`the page has no section ${heading}`)
  return page
    .slice(start, page.indexOf('\n```', start))
    .replace(/[ \t]+$/gm, '')
    .replaceAll(/^-- other\n|^-- trigger \w+: /gm, '')
}

function statements(dialect: string, ddl: string): string {
  const terminated = ddl.endsWith(';') ? ddl : `${ddl};`
  return `-- MLflow's tables at revision ${revision}, ${dialect}. Made by scripts/tracking-schema.ts.

${terminated}

INSERT INTO alembic_version (version_num) VALUES ('${revision}');
INSERT INTO workspaces (name, description) VALUES ('default', 'Default workspace for legacy resources');
`
}

function writeModels(ddl: string): void {
  const tables = [...ddl.matchAll(/CREATE TABLE (\w+) \(\n([\s\S]*?)\n\);/g)].map(m => ({ name: m[1] as string, body: m[2] as string }))
  const files = new Map<string, string[]>()
  for (const { name, body } of tables) {
    const noun = Object.keys(NOUNS).find(n => NOUNS[n]?.test(name)) ?? 'other'
    files.set(noun, [...(files.get(noun) ?? []), model(name, body, ddl)])
  }
  const folder = new URL('models/', OUT)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  writeFileSync(new URL('schema.prisma', folder), SCHEMA)
  for (const [noun, models] of files) writeFileSync(new URL(`${noun}.prisma`, folder), models.join('\n'))
}

function model(table: string, body: string, ddl: string): string {
  const lines = body
    .split('\n')
    .map(line => line.trim().replace(/,$/, ''))
    .filter(line => !line.startsWith('CONSTRAINT'))
    .map(line => `  ${column(table, line, ddl)}`)
  const key = (kind: string) =>
    [...ddl.matchAll(new RegExp(`ALTER TABLE ONLY ${table}\\n\\s+ADD CONSTRAINT (\\w+) ${kind} \\((.*?)\\);`, 'g'))].map(
      m => [m[1], fields(m[2] as string)] as const,
    )
  for (const [name, columns] of key('PRIMARY KEY')) lines.push('', `  @@id([${columns}], map: "${name}")`)
  for (const [name, columns] of key('UNIQUE')) lines.push(`  @@unique([${columns}], map: "${name}")`)
  for (const m of ddl.matchAll(new RegExp(`CREATE (UNIQUE )?INDEX (\\w+) ON ${table} USING btree \\(([\\w", ]+)\\)`, 'g')))
    lines.push(`  @@${m[1] ? 'unique' : 'index'}([${fields(m[3] as string)}], map: "${m[2]}")`)
  return `model ${table} {\n${lines.join('\n')}\n}\n`
}

function fields(columns: string): string {
  return columns.replaceAll('"', '').replaceAll(/(\w+) DESC/g, '$1(sort: Desc)')
}

function column(table: string, line: string, ddl: string): string {
  const m = /^"?(\w+)"? (.+)$/.exec(line) ?? fail(`${table}: cannot read ${line}`)
  const name = m[1] as string
  const rest = m[2] as string
  const counted = new RegExp(`ALTER TABLE (ONLY )?${table} ALTER COLUMN ${name} (SET DEFAULT nextval|ADD GENERATED)`).test(ddl)
  const generated = /GENERATED ALWAYS/.test(rest)
  const optional = generated || !/NOT NULL/.test(rest)
  const fallback = /DEFAULT '?(\w[\w-]*|)'?(::|\s|$)/.exec(rest)?.[1]
  const [type, native] = typeOf(rest) ?? fail(`${table}.${name}: unknown type ${rest}`)
  const literal = fallback === undefined ? undefined : type === 'String' ? `"${fallback}"` : fallback
  const defaults = counted ? '@default(autoincrement())' : generated ? '@default(dbgenerated())' : literal ? `@default(${literal})` : ''
  return [name, `${type}${optional ? '?' : ''}`, defaults, native].filter(Boolean).join(' ')
}

function typeOf(sql: string): [string, string] | undefined {
  const varchar = /^character varying\((\d+)\)/.exec(sql)
  if (varchar) return ['String', `@db.VarChar(${varchar[1]})`]
  if (sql.startsWith('text')) return ['String', '']
  if (sql.startsWith('bigint')) return ['BigInt', '']
  if (sql.startsWith('integer')) return ['Int', '']
  if (sql.startsWith('double precision')) return ['Float', '']
  if (sql.startsWith('boolean')) return ['Boolean', '']
  if (sql.startsWith('json')) return ['Json', '@db.Json']
  if (sql.startsWith('date')) return ['DateTime', '@db.Date']
  if (sql.startsWith('bytea')) return ['Bytes', '']
  return undefined
}
