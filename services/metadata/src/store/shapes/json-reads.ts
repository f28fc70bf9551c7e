import { setImmediate as pause } from 'node:timers/promises'
import type { Caller } from '@millrace/kit/call-context'
import type { Database } from '../db.ts'
import type { Fragment } from '../dialects/dialect.ts'
import { jsonList, jsonRows, jsonStatements } from './json-statements.ts'
import type { JsonWords } from './json-words.ts'
import type { Blocks, Page, Reads, RunSource } from './reads.ts'
import { runsOf } from './runs-of.ts'
import type { Column, Shape } from './shape.ts'
import { type Lookup, type PageJob, type PageRead, parsed, SLICE_ROWS_MAX, type Slices, type Statement } from './slices.ts'

/** How a database that makes JSON itself is read. */
export interface JsonSource extends AsyncDisposable {
  /** A read that is short by nature. Closed with the source. */
  lookup(statement: Pick<Statement, 'sql' | 'name'>): Lookup
  /** The column `json` of a read that may be long. */
  rows(statement: Statement, caller?: Caller): Promise<Slices>
  page(job: PageJob, caller?: Caller): Promise<PageRead>
  runsOf?(experimentIds: readonly bigint[]): RunSource
}

interface Prepared {
  lookup: Lookup
  follow: PageJob['follow']
}

type JsonRecord = [info: [id: unknown, ...unknown[]], ...children: unknown[][]]

const NONE: unknown[] = []

/** Reads shapes as JSON that the database makes. */
export function openJsonReads(db: Database, source: JsonSource, words: JsonWords): Reads {
  const { dialect } = db
  const prepared = new Map<Shape, Prepared>()
  const prepare = (shape: Shape): Prepared => {
    let found = prepared.get(shape)
    if (found) return found
    const { one, records, few, columns } = jsonStatements(shape, dialect, words)
    const lookup = source.lookup({ sql: one, name: `millrace_whole_${shape.name}` })
    const follow = [records, ...few, ...columns].map((sql, i) => ({ sql, name: `millrace_${shape.name}_page_${i}` }))
    found = { lookup, follow }
    prepared.set(shape, found)
    return found
  }
  const rowsOf = (select: Fragment, columns: readonly Column[]) => jsonRows(select, columns, words).compile(db.kysely)
  return {
    dialect,
    runsOf: ids => source.runsOf?.(ids) ?? runsOf(dialect, ids),
    async one<R>(shape: Shape, id: string, caller?: Caller) {
      const text = await prepare(shape).lookup(id, caller)
      return text === undefined ? undefined : (JSON.parse(text) as R)
    },
    async page<R>(shape: Shape, ids: Fragment, pageSize: number, caller?: Caller): Promise<Page<R>> {
      const read = await source.page({ ids: ids.compile(db.kysely), pageSize, follow: prepare(shape).follow }, caller)
      return { ids: read.ids, more: read.more, slices: () => assembled(shape, read) as AsyncIterable<R[]> }
    },
    async *list<R>(shape: Shape, ids: Fragment, caller?: Caller) {
      yield* parsed<R>(await source.rows(jsonList(shape, ids, dialect, words).compile(db.kysely), caller))
    },
    async *rows<R>(select: Fragment, columns: readonly Column[], caller?: Caller) {
      yield* parsed<R>(await source.rows(rowsOf(select, columns), caller))
    },
    async blocks(select, columns, caller): Promise<Blocks> {
      const many = words.blocks?.(select, columns).compile(db.kysely)
      const texts = await source.rows(many ?? { ...rowsOf(select, columns), long: true }, caller)
      const characters = texts.reduce((sum, text) => sum + text.length, 0)
      return { characters, blocks: () => (many ? flat(parsed<unknown[][]>(texts)) : transposed(parsed<unknown[]>(texts), columns.length)) }
    },
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  }
}

async function* flat<T>(lists: AsyncIterable<T[]>): AsyncGenerator<T> {
  for await (const list of lists) yield* list
}

async function* transposed(slices: AsyncIterable<unknown[][]>, count: number): AsyncGenerator<unknown[][]> {
  for await (const rows of slices) yield Array.from({ length: count }, (_, column) => rows.map(row => row[column]))
}

/** The page's records in order, with their few children. */
async function* assembled(shape: Shape, { ids, parts }: PageRead): AsyncGenerator<JsonRecord[]> {
  const [records = [], ...others] = parts
  const fewCount = shape.children.filter(child => child.as === 'few').length
  const few = await Promise.all(others.slice(0, fewCount).map((texts, i) => collect(texts, shape, i)))
  const columns = others.slice(fewCount)
  const slices = columns.length > 0 ? withColumns(ids, records, columns) : inOrder(ids, records)
  for await (const slice of slices) {
    for (const record of slice) for (const found of few) record.push(found.get(record[0][0]) ?? NONE)
    yield slice
  }
}

async function collect(texts: Slices, shape: Shape, index: number): Promise<Map<unknown, unknown[]>> {
  const paired = shape.children.filter(child => child.as === 'few')[index]?.children !== undefined
  const found = new Map<unknown, unknown[]>()
  for await (const slice of parsed<unknown[]>(texts)) {
    for (const row of slice) {
      const parent = paired ? (row[0] as unknown[])[0] : row[0]
      const list = found.get(parent)
      if (list) list.push(row)
      else found.set(parent, [row])
    }
  }
  return found
}

/** Records in the order of the page's ids from their rows and the columns of all their children. */
async function* withColumns(ids: PageRead['ids'], texts: Slices, columns: readonly Slices[]): AsyncGenerator<JsonRecord[]> {
  const found = new Map<unknown, JsonRecord>()
  for await (const slice of parsed<JsonRecord[0]>(texts)) for (const info of slice) found.set(info[0], [info, ...columns.map(() => [])])
  const places = ids.map(([id]) => found.get(id))
  for (const [i, slices] of columns.entries()) {
    for await (const slice of parsed<[places: number[], ...columns: unknown[][]]>(slices)) {
      for (const [rows, ...values] of slice) fill(places, i + 1, rows, values)
    }
  }
  const records = places.filter(record => record !== undefined)
  for (let at = 0; at < records.length; at += SLICE_ROWS_MAX) {
    if (at > 0) await pause()
    yield records.slice(at, at + SLICE_ROWS_MAX)
  }
}

/** Hands the values of one text out to their records; the rows of one lie together more often than not. */
function fill(records: readonly (JsonRecord | undefined)[], member: number, places: readonly number[], values: readonly unknown[][]): void {
  for (let from = 0, to = 0; from < places.length; from = to) {
    const place = places[from] ?? 0
    while (places[to] === place) to++
    const target = records[place - 1]?.[member] as unknown[][] | undefined
    if (!target) continue
    for (const [column, list] of values.entries()) {
      const part = list.slice(from, to)
      target[column] = target[column]?.length ? [...target[column], ...part] : part
    }
  }
}

/** Records in the order of the page's ids. SQLite answers in that order; another database may not, and then the whole page is sorted. */
async function* inOrder(ids: PageRead['ids'], texts: Slices): AsyncGenerator<JsonRecord[]> {
  let at = 0
  let sorted = true
  const seen: JsonRecord[] = []
  for await (const slice of parsed<JsonRecord>(texts)) {
    sorted &&= slice.every((record, i) => record[0][0] === ids[at + i]?.[0])
    at += slice.length
    if (sorted) yield slice
    else seen.push(...slice)
  }
  if (seen.length === 0) return
  const place = new Map<unknown, number>(ids.map(([id], i) => [id, i]))
  yield seen.sort((a, b) => (place.get(a[0][0]) ?? 0) - (place.get(b[0][0]) ?? 0))
}
