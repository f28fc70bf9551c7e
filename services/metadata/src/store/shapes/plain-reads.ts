import { setImmediate as pause } from 'node:timers/promises'
import type { Caller } from '@millrace/kit/call-context'
import { sql } from 'kysely'
import { type Database, wide } from '../db.ts'
import type { Dialect, Fragment } from '../dialects/dialect.ts'
import type { Blocks, Page, Reads, RunSource } from './reads.ts'
import { runsOf } from './runs-of.ts'
import type { Children, Column, JsonInteger, Shape } from './shape.ts'
import { SLICE_ROWS_MAX } from './slices.ts'

/** About what a point of a metric is as JSON. */
const ROW_CHARACTERS = 35

type Values = Record<string, unknown>
/** Children, or the children of these. */
type Child = Omit<Children, 'as'>

/** Reads shapes on any database: one plain SELECT per table, whose rows are put together here. */
export class PlainReads implements Reads {
  readonly dialect: Dialect
  readonly #db: Database

  constructor(db: Database) {
    this.dialect = db.dialect
    this.#db = db
  }

  runsOf(experimentIds: readonly bigint[]): RunSource {
    return runsOf(this.dialect, experimentIds)
  }

  async one<R>(shape: Shape, id: string, caller?: Caller): Promise<R | undefined> {
    return (await this.#records(shape, [id], caller))[0] as R | undefined
  }

  async page<R>(shape: Shape, ids: Fragment, pageSize: number, caller?: Caller): Promise<Page<R>> {
    const found = await this.#all<{ id: string; sort_key: string | null }>(ids, caller)
    const page = found.slice(0, pageSize)
    const slices = () => this.#slices<R>(shape, page, caller)
    return { ids: page.map(row => [row.id, row.sort_key] as const), more: found.length > pageSize, slices }
  }

  async *list<R>(shape: Shape, ids: Fragment, caller?: Caller): AsyncGenerator<R[]> {
    yield* this.#slices<R>(shape, await this.#all(ids, caller), caller)
  }

  async *rows<R>(select: Fragment, columns: readonly Column[], caller?: Caller): AsyncGenerator<R[]> {
    for await (const part of parts(await this.#all(select, caller))) yield part.map(row => namedValues(row, columns)) as R[]
  }

  async blocks(select: Fragment, columns: readonly Column[], caller?: Caller): Promise<Blocks> {
    const rows = await this.#all(select, caller)
    const blocks = async function* () {
      for await (const part of parts(rows)) {
        const values = part.map(row => namedValues(row, columns))
        yield columns.map((_, i) => values.map(row => row[i]))
      }
    }
    return { characters: ROW_CHARACTERS * rows.length, blocks }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async *#slices<R>(shape: Shape, rows: readonly { id?: unknown }[], caller: Caller | undefined): AsyncGenerator<R[]> {
    const ids = rows.map(row => exact(row.id))
    for (let at = 0; at < ids.length; at += SLICE_ROWS_MAX) {
      yield (await this.#records(shape, ids.slice(at, at + SLICE_ROWS_MAX), caller)) as R[]
    }
  }

  async #records(shape: Shape, ids: readonly unknown[], caller: Caller | undefined): Promise<unknown[][]> {
    const columns = sql.raw(selected(shape.columns).join(', '))
    const rows = await this.#all(sql`SELECT ${columns} FROM ${sql.raw(shape.table)} WHERE ${this.#oneOf(shape, shape.key, ids)}`, caller)
    const found = new Map(rows.map(row => valuesOf(row, shape.columns)).map(info => [info[0], info]))
    const lists: Map<unknown, unknown[][]>[] = []
    for (const child of shape.children) lists.push(await this.#children(child, shape, ids, caller))
    const membersOf = (id: unknown) => shape.children.map((child, i) => arranged(child, lists[i]?.get(id) ?? []))
    return ids.flatMap(id => (found.has(id) ? [[found.get(id), ...membersOf(id)]] : []))
  }

  /** The rows of children by the id of their parent. */
  async #children(child: Child, of: Pick<Shape, 'ids'>, ids: readonly unknown[], caller: Caller | undefined) {
    const { table, join = '', where, parent, columns, children } = child
    const names = [`${parent} AS parent_key`, ...(children ? [`${children.of} AS own_key`] : []), ...selected(columns)]
    const condition = sql`${sql.raw(where ? `${where} AND` : '')} ${this.#oneOf(of, parent, ids)}`
    const from = sql`${sql.raw(`${table} ${join}`)} WHERE ${condition} ${this.#order(child)}`
    const rows = await this.#all(sql`SELECT ${sql.raw(names.join(', '))} FROM ${from}`, caller)
    const keys = rows.map(row => row.own_key)
    const below = children && rows.length > 0 ? await this.#children(children, { ids: 'text' }, keys, caller) : undefined
    const found = new Map<unknown, unknown[][]>()
    for (const row of rows) {
      const values = valuesOf(row, columns)
      const list = found.get(exact(row.parent_key)) ?? []
      list.push(children ? [values, below?.get(row.own_key) ?? []] : values)
      found.set(exact(row.parent_key), list)
    }
    return found
  }

  #order({ order }: Child): Fragment {
    if (!order) return sql``
    if ('bytes' in order) return sql`ORDER BY ${this.dialect.textOrder(sql.raw(order.bytes))}`
    const { insertionOrder } = this.dialect
    return insertionOrder ? sql`ORDER BY ${sql.raw(`${order.inserted}.${insertionOrder}`)}` : sql``
  }

  #oneOf(of: Pick<Shape, 'ids'>, column: string, ids: readonly unknown[]): Fragment {
    if (of.ids === 'text') return this.dialect.oneOf(sql.raw(column), ids as string[])
    const integers = ids.map(id => BigInt(id as number))
    return this.dialect.oneOfIds(sql.raw(column), integers)
  }

  #all<T = Values>(select: Fragment, caller: Caller | undefined): Promise<T[]> {
    return this.#db.all<T>(wide(select.compile(this.#db.kysely) as never), caller)
  }
}

async function* parts<T>(rows: readonly T[]): AsyncGenerator<T[]> {
  for (let at = 0; at < rows.length; at += SLICE_ROWS_MAX) {
    if (at > 0) await pause()
    yield rows.slice(at, at + SLICE_ROWS_MAX)
  }
}

const selected = (columns: readonly Column[]) =>
  columns.flatMap((column, i) => {
    if (typeof column === 'string') return [`${column} AS c${i}`]
    return 'integer' in column ? [`${column.integer} AS c${i}`] : [`${column.real} AS c${i}`, `${column.isNan} AS n${i}`]
  })

/** Of a row of `selected` columns. */
const valuesOf = (row: Values, columns: readonly Column[]) =>
  columns.map((column, i) => (typeof column === 'object' && 'real' in column && Number(row[`n${i}`]) ? null : exact(row[`c${i}`])))

/** Of a row whose columns have their own names. */
const namedValues = (row: Values, columns: readonly Column[]) =>
  columns.map(column => {
    if (typeof column === 'string') return exact(row[nameOf(column)])
    if ('integer' in column) return exact(row[nameOf(column.integer)])
    return Number(row[nameOf(column.isNan)]) ? null : row[nameOf(column.real)]
  })

const nameOf = (column: string) => column.slice(column.indexOf('.') + 1)

const arranged = ({ as, columns }: Children, rows: unknown[][]): unknown[] =>
  as === 'columns' ? columns.map((_, column) => rows.map(row => row[column])) : rows

function exact(value: unknown): unknown {
  if (typeof value !== 'bigint') return value
  return (Number.isSafeInteger(Number(value)) ? Number(value) : String(value)) satisfies JsonInteger
}
